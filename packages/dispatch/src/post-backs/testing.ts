/** A name server on loopback for tests: real questions and answers over UDP, and what it says can change. */
import { createSocket } from 'node:dgram'
import ipaddr from 'ipaddr.js'

/** Addresses of either family; none; or no answer at all. */
export type Answer = string[] | 'silence'

export interface NameServer {
  /** For `createNames`. */
  servers: string[]
  /** Names in the order in which their IPv4 addresses were asked for. */
  asked: string[]
  close(): Promise<void>
}

/** @param answer what a name has; `time` counts the questions for its IPv4 addresses, from 1 */
export async function startNameServer(answer: (name: string, time: number) => Answer): Promise<NameServer> {
  const socket = createSocket('udp4')
  const asked: string[] = []
  socket.on('message', (question, from) => {
    const { name, type, end } = readQuestion(question)
    if (type === A) asked.push(name)
    const time = Math.max(1, asked.filter((other) => other === name).length)
    const addresses = answer(name, time)
    if (addresses === 'silence') return
    const own = addresses.map((address) => Buffer.from(ipaddr.parse(address).toByteArray()))
    const fitting = own.filter(({ length }) => length === (type === A ? 4 : 16))
    socket.send(writeAnswer(question.subarray(0, end), type, fitting), from.port, from.address)
  })
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve))
  return {
    servers: [`127.0.0.1:${socket.address().port}`],
    asked,
    close: () => new Promise((resolve) => socket.close(() => resolve())),
  }
}

const A = 1
const HEADER_BYTES = 12

/** RFC 1035, section 4.1: the header, then the name as labels, type and class. */
function readQuestion(message: Buffer): { name: string; type: number; end: number } {
  const labels: string[] = []
  let at = HEADER_BYTES
  for (let length = message[at]!; length > 0; length = message[at]!) {
    labels.push(message.toString('latin1', at + 1, at + 1 + length))
    at += 1 + length
  }
  // 0x20: a resolver may mix cases to be harder to deceive.
  return { name: labels.join('.').toLowerCase(), type: message.readUInt16BE(at + 1), end: at + 5 }
}

function writeAnswer(question: Buffer, type: number, addresses: Buffer[]): Buffer {
  const header = Buffer.from(question)
  // An answer, recursion available, no error; one question, so many answers, nothing else.
  header.writeUInt16BE(0x8180, 2)
  header.writeUInt16BE(addresses.length, 6)
  header.fill(0, 8, HEADER_BYTES)
  const records = addresses.map((address) => {
    const record = Buffer.alloc(12)
    record.writeUInt16BE(0xc000 | HEADER_BYTES, 0)
    record.writeUInt16BE(type, 2)
    record.writeUInt16BE(1, 4)
    record.writeUInt16BE(address.length, 10)
    return Buffer.concat([record, address])
  })
  return Buffer.concat([header, ...records])
}
