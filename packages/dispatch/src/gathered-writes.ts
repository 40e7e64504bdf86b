/**
 * Commands that are issued in one tick leave in one write.
 *
 * ioredis writes each command to the socket by itself, and a write costs more than all else about a command. Its
 * auto-pipelining gathers them too, but builds a pipeline with every script that the connection knows each time.
 * Holding the stream back (`cork`, Node's own means for this) until the tick ends costs next to nothing.
 */
import type { Redis } from 'ioredis'

export function gatherWrites(redis: Redis): Redis {
  redis.on('connect', () => {
    const { stream } = redis
    const write = stream.write.bind(stream) as typeof stream.write
    let corked = false
    const uncork = () => {
      corked = false
      stream.uncork()
    }
    stream.write = ((...args: Parameters<typeof write>) => {
      if (!corked) {
        corked = true
        stream.cork()
        process.nextTick(uncork)
      }
      return write(...args)
    }) as typeof stream.write
  })
  return redis
}
