import { expect, test } from 'vitest'
import { receiptAddress } from './receipt-address.ts'

const receiptUrl = 'https://us.example/v1/receipts/zixflow-ai'

test('a token goes into the query, and nothing else of the address changes', () => {
  expect(receiptAddress({ receiptUrl, receiptToken: 'token-1' })).toBe(`${receiptUrl}?token=token-1`)
  const withQuery = `${receiptUrl}?a=b%20c&d=e+f#part`
  expect(receiptAddress({ receiptUrl: withQuery, receiptToken: 'ä&b' })).toBe(
    `${receiptUrl}?a=b%20c&d=e+f&token=%C3%A4%26b#part`,
  )
})

test('the receiver reads the token as it is configured', () => {
  const receiptToken = 'a b+c/d?e&f=g#h%20ü'
  const address = receiptAddress({ receiptUrl, receiptToken }) ?? ''
  expect(new URL(address).searchParams.get('token')).toBe(receiptToken)
})

test('an address with a token of its own, without one, or none at all stays as it is', () => {
  const own = `${receiptUrl}?token=other`
  expect(receiptAddress({ receiptUrl: own, receiptToken: 'token-1' })).toBe(own)
  expect(receiptAddress({ receiptUrl })).toBe(receiptUrl)
  expect(receiptAddress({ receiptToken: 'token-1' })).toBeUndefined()
  expect(receiptAddress({ receiptUrl: 'no address', receiptToken: 'token-1' })).toBe('no address')
})
