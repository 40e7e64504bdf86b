import { clearScreenDown, moveCursor } from 'node:readline'
import { stripVTControlCharacters, styleText } from 'node:util'

type Style = Parameters<typeof styleText>[0]

/** Colour where the terminal has it: not into files, and not with NO_COLOR. */
export const paint = (style: Style, text: string): string =>
  styleText(style, text, { stream: process.stdout, validateStream: true })

/** Not more than what is read with ease, also on a wide screen. */
export const width = (): number => Math.min(process.stdout.columns || 100, 110)

const visibleLength = (text: string): number => [...stripVTControlCharacters(text)].length

export const padded = (text: string, length: number): string =>
  text + ' '.repeat(Math.max(0, length - visibleLength(text)))

export const alignedRight = (text: string, length: number): string =>
  ' '.repeat(Math.max(0, length - visibleLength(text))) + text

/** Breaks plain text at spaces; a word that is longer than a line stays whole. */
function wrap(text: string, length: number): string[] {
  const lines: string[] = []
  for (const word of text.split(' ')) {
    const last = lines.at(-1)
    if (last !== undefined && visibleLength(last) + 1 + visibleLength(word) <= length) {
      lines[lines.length - 1] = `${last} ${word}`
    } else lines.push(word)
  }
  return lines
}

/** Rows of cells as lines: columns as wide as their widest cell, the last one wrapped under itself. */
export function table(rows: readonly (readonly string[])[], indent = 2): string[] {
  const columns = Math.max(0, ...rows.map((row) => row.length))
  const widths = Array.from({ length: columns }, (_, column) =>
    Math.max(...rows.map((row) => visibleLength(row[column] ?? ''))),
  )
  const before = indent + widths.slice(0, -1).reduce((sum, one) => sum + one + 2, 0)
  return rows.flatMap((row) => {
    const head = row.slice(0, -1).map((cell, column) => `${padded(cell, widths[column]!)}  `)
    const [first = '', ...rest] = wrap(row.at(-1) ?? '', Math.max(30, width() - before))
    return [
      `${' '.repeat(indent)}${head.join('')}${first}`.trimEnd(),
      ...rest.map((line) => ' '.repeat(before) + line),
    ]
  })
}

/** A bar of `length` cells, filled by `share` from 0 to 1. */
export function bar(share: number, length: number): string {
  const filled = Math.round(Math.min(1, Math.max(0, share)) * length)
  return '█'.repeat(filled) + paint('dim', '░'.repeat(length - filled))
}

/** A few lines at the end of the screen that are drawn again in place. Only for terminals. */
export class LiveBlock {
  #height = 0

  draw(lines: readonly string[]): void {
    this.clear()
    // A line that wraps would take two rows, and going back up would miss one.
    const columns = process.stdout.columns || 80
    const fitting = lines.map((line) => (visibleLength(line) < columns ? line : cut(line, columns - 1)))
    process.stdout.write(`${fitting.join('\n')}\n`)
    this.#height = fitting.length
  }

  clear(): void {
    if (this.#height > 0) {
      moveCursor(process.stdout, 0, -this.#height)
      clearScreenDown(process.stdout)
    }
    this.#height = 0
  }
}

const cut = (line: string, length: number): string =>
  [...stripVTControlCharacters(line)].slice(0, length).join('')

/** A number for people: 4,966. */
export const amount = (count: number): string => count.toLocaleString('en-GB')
