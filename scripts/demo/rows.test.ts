import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { type Row, readRows, type UnreadableRow } from './rows.ts'

let dir: string

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'demo-rows-'))
})
afterAll(() => rm(dir, { recursive: true, force: true }))

const templates = new Map([
  ['greeting', { type: 'text', text: { body: 'Hello {{name}}, {{name}}: {{order}}', preview: false } }],
])

async function all(file: string): Promise<(Row | UnreadableRow)[]> {
  const rows: (Row | UnreadableRow)[] = []
  for await (const row of readRows(file, templates)) rows.push(row)
  return rows
}

async function read(...lines: string[]): Promise<(Row | UnreadableRow)[]> {
  const file = join(dir, 'rows.csv')
  await writeFile(file, lines.join('\r\n'))
  return (await all(file)).sort((a, b) => a.line - b.line)
}

const header = 'to,reference,account,message,name,order'

test('a row becomes a request with its variables filled in, also behind a byte order mark', async () => {
  expect(await read(`\uFEFF${header}`, '+4477,r-1,a,greeting,"Zoë, junior",$&')).toEqual([
    {
      line: 2,
      request: {
        to: '+4477',
        reference: 'r-1',
        account: 'a',
        message: { type: 'text', text: { body: 'Hello Zoë, junior, Zoë, junior: $&', preview: false } },
      },
    },
  ])
})

test('a text that lacks a variable is left out for the API to refuse, and the variable is named', async () => {
  const [row] = await read(header, '4477,r-1,a,greeting,,7')
  expect(row).toMatchObject({ lacks: 'the row has no name', request: { message: { type: 'text' } } })
  expect((row as Row).request.message).toHaveProperty('text.body', undefined)
})

test('a template that does not exist is named', async () => {
  const [row] = await read(header, '4477,r-1,a,greetings,x,7')
  expect(row).toMatchObject({ lacks: 'there is no template "greetings"' })
})

test('a row that is not CSV is told once, by its line and without what it holds', async () => {
  const rows = await read(header, '1,r,a,greeting,A "B" C,7', '', '2,r,a,greeting', '3,r,a,greeting,x,7')
  expect(rows).toEqual([
    { line: 2, why: 'Invalid Opening Quote: a quote is found on field "name"' },
    { line: 4, why: 'Invalid Record Length: columns length is 6, got 4' },
    expect.objectContaining({ line: 5 }),
  ])
})

test('a file that is not there is an error', async () => {
  await expect(all(join(dir, 'none.csv'))).rejects.toThrow('ENOENT')
})
