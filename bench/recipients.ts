/** Files of recipients as somebody would upload them; the same seed makes the same file. */
import { closeSync, openSync, writeSync } from 'node:fs'

/** How mobile numbers look like: the country's code and the digits behind it. */
const MOBILE = {
  brazil: { code: 55, least: 11_900_000_000, most: 11_999_999_999 },
  britain: { code: 44, least: 7_400_000_000, most: 7_599_999_999 },
  india: { code: 91, least: 6_000_000_000, most: 9_999_999_999 },
  indonesia: { code: 62, least: 8_110_000_000, most: 8_999_999_999 },
  spain: { code: 34, least: 600_000_000, most: 699_999_999 },
}
export type Country = keyof typeof MOBILE

const FIRST =
  'Aarav Ana Bruno Camila Chen Dewi Diego Elena Farah Grace Hassan Inés Isha João Kavya Lucas Marta Meera Noah Olga Priya Rahul Rosa Sana Tomás Uma Vikram Wanda Yusuf Zoe'
const LAST =
  'Almeida Banerjee Costa Das Fernández García Hidayat Iyer Jain Khan Lopes Mehta Nair Oliveira Patel Qureshi Ramos Santos Torres Utami Verma Wijaya Xavier Yadav Zapata'
const ROWS_AT_ONCE = 5_000

export interface RecipientsOptions {
  rows: number
  seed: number
  /** Where they live, at random; one who is in two of our files lives in both files' countries. */
  countries?: readonly Country[]
}

/** Writes `to,name,order`: no recipient twice, in no order. */
export function writeRecipients(file: string, options: RecipientsOptions): void {
  const { rows, seed, countries = ['india', 'brazil', 'indonesia'] } = options
  const random = randomFrom(seed)
  const oneOf = <Item>(items: readonly Item[]): Item => items[Math.floor(random() * items.length)]!
  const [first, last] = [FIRST.split(' '), LAST.split(' ')]
  const taken = new Set<number>()
  const recipient = (): number => {
    for (;;) {
      const { code, least, most } = MOBILE[oneOf(countries)]
      const number = Number(`${code}${least + Math.floor(random() * (most - least + 1))}`)
      if (taken.has(number)) continue
      taken.add(number)
      return number
    }
  }
  const output = openSync(file, 'w')
  writeSync(output, 'to,name,order\n')
  for (let written = 0; written < rows; written += ROWS_AT_ONCE) {
    let text = ''
    for (let row = written; row < Math.min(rows, written + ROWS_AT_ONCE); row++)
      text += `${recipient()},${oneOf(first)} ${oneOf(last)},${1_000_000 + Math.floor(random() * 9_000_000)}\n`
    writeSync(output, text)
  }
  closeSync(output)
}

export const livesIn = (country: Country, recipient: string): boolean =>
  recipient.startsWith(String(MOBILE[country].code))

/** @returns numbers from 0 to below 1, the same ones for the same seed (mulberry32, twice for 53 bits) */
export function randomFrom(seed: number): () => number {
  let state = seed | 0
  const next32 = () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return (mixed ^ (mixed >>> 14)) >>> 0
  }
  return () => ((next32() >>> 6) * 2 ** 27 + (next32() >>> 5)) / 2 ** 53
}
