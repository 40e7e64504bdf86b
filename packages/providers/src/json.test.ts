import { expect, test } from 'vitest'
import { looseId, parseJson, parseJsonWithMissingCommas } from './json.ts'

test('an integer beyond 2^53 keeps its digits, any other number stays one', () => {
  expect(
    parseJson('{"a":604132581490819123,"b":-604132581490819123,"c":12,"d":0.1234567890123456,"e":1e30}'),
  ).toEqual({
    a: '604132581490819123',
    b: '-604132581490819123',
    c: 12,
    d: 0.1234567890123456,
    e: 1e30,
  })
})

test('what is no JSON is undefined', () => {
  for (const text of ['', ' ', '<p>', '{"a":1', '{a:1}', "{'a':1}"]) expect(parseJson(text)).toBeUndefined()
})

test('commas missing between members are put in, after a value of any kind', () => {
  const text = '{"a":"x" "b":1\n"c":{"d":[1,2] "e":null}"f":true "g":[{"h":"i" "j":"k"}]}'
  const whole = '{"a":"x","b":1,"c":{"d":[1,2],"e":null},"f":true,"g":[{"h":"i","j":"k"}]}'
  expect(parseJsonWithMissingCommas(text)).toEqual(JSON.parse(whole))
})

test('strings that look like members are left alone', () => {
  const text = String.raw`{"a":"x\" \"y\": 1 } \"" "b":"\\" "c":604132581490819123}`
  expect(parseJsonWithMissingCommas(text)).toEqual({ a: 'x" "y": 1 } "', b: '\\', c: '604132581490819123' })
})

test('nothing else is repaired', () => {
  const broken = [
    '{"a" "b"}',
    '{"a":1 2}',
    '["a" "b"]',
    '{"a":1,}',
    '{"a":"x',
    '{"a":1 "b"',
    '{a:1 "b":2}',
    '<p>"a":1',
  ]
  for (const text of broken) expect(parseJsonWithMissingCommas(text), text).toBeUndefined()
})

test('a hostile text does not keep the process busy', () => {
  for (const text of [
    `{"${'\\"'.repeat(100_000)}`,
    `{"${'\\"'.repeat(8_000)}`,
    '{'.repeat(16_000),
    '"" '.repeat(5_000),
  ]) {
    expect(parseJsonWithMissingCommas(text)).toBeUndefined()
  }
})

test('an id is a visible word', () => {
  expect(looseId.parse('AX-1')).toBe('AX-1')
  expect(looseId.parse(17)).toBe('17')
  for (const value of ['', ' ', 'a b', 'a\nb', 'x'.repeat(513), {}, [], null, undefined, true]) {
    expect(looseId.parse(value)).toBeUndefined()
  }
})
