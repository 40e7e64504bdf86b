/** Connections that the guard has agreed to, kept open for a while. */
import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import type { Socket } from 'node:net'
import { withoutDot } from './allow-list.ts'
import { AddressRefusedError, type ReceiverGuard } from './receiver-address.ts'

/** Shorter than what servers wait by default (Node: 5 s), so that few requests meet a closing connection. */
const IDLE_MS = 4_000
/** A far receiver may need longer than Node's 250 ms for its first address, and then have no second one. */
const NEXT_ADDRESS_AFTER_MS = 2_000

/**
 * Every connection of these agents goes through the guard, and a kept one is only used for the host and port that it
 * was made for: so no request gets around it. No proxy of the environment is used.
 * @param connections the most to one receiver
 */
export function createGuardedAgents(
  guard: ReceiverGuard,
  connections: number,
): { http: HttpAgent; https: HttpsAgent } {
  const pool = { keepAlive: true, maxSockets: connections, maxFreeSockets: connections }
  return {
    http: guarded(new HttpAgent(pool), guard, false),
    https: guarded(new HttpsAgent(pool), guard, true),
  }
}

type Options = Parameters<HttpAgent['createConnection']>[0]

function guarded<Pool extends HttpAgent>(agent: Pool, guard: ReceiverGuard, secure: boolean): Pool {
  const connect = agent.createConnection.bind(agent)
  const guardedConnect: typeof connect = (options, callback) => {
    const host = withoutDot(
      String(options.host ?? '')
        .toLowerCase()
        .replace(/^\[|\]$/g, ''),
    )
    const target = { host, port: Number(options.port), secure }
    // Node asks for no look-up where the host is an address.
    const refused = options.socketPath ? 'leads to a socket of this machine' : guard.refuse(target)
    if (refused !== undefined) {
      callback?.(new AddressRefusedError(refused), undefined as never)
      return undefined
    }
    const guardedOptions = {
      ...options,
      lookup: guard.lookupFor(target),
      autoSelectFamily: true,
      autoSelectFamilyAttemptTimeout: NEXT_ADDRESS_AFTER_MS,
    }
    return connect(guardedOptions as Options, callback)
  }
  agent.createConnection = guardedConnect
  // One that is in use is left alone by the agent when its time is over.
  agent.on('free', (socket: Socket) => socket.setTimeout(IDLE_MS))
  return agent
}
