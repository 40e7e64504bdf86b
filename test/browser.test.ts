/**
 * A real browser opens the dashboard through its login, and the docs page. It needs a Chromium: CHROMIUM_PATH, or
 * `chromium`, `chromium-browser` or `google-chrome` on PATH.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { lanePrefix } from '@wa-dispatch/dispatch'
import { UnrecoverableError, Worker } from 'bullmq'
import { Redis } from 'ioredis'
import { type BrowserContext, chromium, type Page } from 'playwright-core'
import { afterAll, describe, expect, it } from 'vitest'
import { message, startApi } from '../apps/api/src/testing.ts'
import { onPath } from '../scripts/redis-program.ts'
import { useRedis } from './redis.ts'

const executable =
  process.env.CHROMIUM_PATH || ['chromium', 'chromium-browser', 'google-chrome'].map(onPath).find(Boolean)
if (!executable) {
  process.stderr.write(
    '\n!!! SKIPPED: the browser tests found no Chromium. Dashboard and docs were NOT looked at.\n' +
      '!!! Install one (Debian: apt-get install chromium) or set CHROMIUM_PATH.\n\n',
  )
}

const flags = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** A browser that has never been here, and what went wrong in it. */
async function openBrowser() {
  const profile = mkdtempSync(join(tmpdir(), 'wa-dispatch-browser-'))
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: executable!,
    headless: true,
    args: flags,
    viewport: { width: 1280, height: 900 },
  })
  afterAll(async () => {
    await context.close()
    rmSync(profile, { recursive: true, force: true })
  })
  return context
}

/** Pages here have to work with nothing from elsewhere, and within their content security policy. */
async function openPage(context: BrowserContext, origin: string): Promise<{ page: Page; faults: string[] }> {
  const page = await context.newPage()
  const faults: string[] = []
  page.on('pageerror', (error) => faults.push(`script: ${error.message}`))
  page.on('console', (line) => {
    if (/Content Security Policy/i.test(line.text())) faults.push(`policy: ${line.text()}`)
  })
  page.on('request', (request) => {
    if (!request.url().startsWith(origin) && !request.url().startsWith('data:'))
      faults.push(`foreign: ${request.url()}`)
  })
  page.on('response', (response) => {
    if (response.status() >= 500) faults.push(`${response.status()}: ${response.url()}`)
  })
  return { page, faults }
}

describe.skipIf(!executable)('in a browser', () => {
  it('the dashboard opens with an admin key only, and shows lanes, jobs and why they failed', async () => {
    const redis = await useRedis(afterAll)
    const api = await startApi(redis.url)
    const origin = await api.app.listen({ host: '127.0.0.1', port: 0 })
    const accepted = await api.inject({
      method: 'POST',
      url: '/v1/messages',
      payload: message({ reference: 'order-7' }),
    })
    const failing = new Worker(
      'kaleyra-in',
      async () => {
        throw new UnrecoverableError('E110: Insufficient balance')
      },
      {
        connection: new Redis(redis.url, { maxRetriesPerRequest: null }),
        prefix: lanePrefix(api.storage.ledger.numberOf('kaleyra-in')),
      },
    )
    await new Promise((resolve) => failing.once('failed', resolve))
    await failing.close()

    const { page, faults } = await openPage(await openBrowser(), origin)
    await page.goto(`${origin}/dashboard/queue/kaleyra-in`)
    expect(page.url(), 'nothing without a login').toBe(`${origin}/dashboard/login`)
    expect(await page.content()).not.toContain('kaleyra-in')

    await page.getByLabel('API key').fill('key-read')
    await page.getByRole('button', { name: 'Log in' }).click()
    await page.getByRole('alert').waitFor()
    expect(await page.getByRole('alert').textContent()).toContain('not a key with the scope admin')

    await page.getByLabel('API key').fill('key-admin')
    await page.getByRole('button', { name: 'Log in' }).click()
    for (const lane of ['kaleyra-in', 'gupshup-main', 'zixflow-old']) {
      await page.getByRole('link', { name: lane }).first().waitFor()
    }

    await page.goto(`${origin}/dashboard/queue/kaleyra-in?status=failed`)
    await page.getByText(accepted.json().id).first().waitFor()
    await page.getByText('E110: Insufficient balance').first().waitFor()
    await page.getByText('Data', { exact: true }).first().click()
    await page.getByText('9198••••3210').first().waitFor()
    const text = await page.evaluate('document.body.innerText')
    expect(text).not.toContain('919876543210')
    expect(text, 'read-only: nothing to retry or clean with').not.toMatch(/Retry all|Clean all|Obliterate/i)

    await page.goto(`${origin}/dashboard/logout`)
    await page.getByRole('button', { name: 'Log out' }).click()
    await page.getByLabel('API key').waitFor()
    await page.goto(`${origin}/dashboard`)
    expect(page.url()).toBe(`${origin}/dashboard/login`)
    expect(faults).toEqual([])
  }, 90_000)

  it('the docs page shows every route and tries one', async () => {
    const redis = await useRedis(afterAll)
    const api = await startApi(redis.url)
    const origin = await api.app.listen({ host: '127.0.0.1', port: 0 })
    const { page, faults } = await openPage(await openBrowser(), origin)
    await page.goto(`${origin}/docs`)
    for (const route of ['/v1/messages', '/v1/messages/batch', '/v1/accounts', '/health/ready']) {
      await page.getByText(route, { exact: true }).first().waitFor()
    }
    await page.getByRole('button', { name: 'Authorize' }).first().click()
    await page.getByLabel('auth-bearer-value').fill('key-read')
    await page.locator('.modal-ux').getByRole('button', { name: 'Apply credentials' }).click()
    await page.locator('.modal-ux').getByRole('button', { name: 'Close' }).click()
    const operation = page
      .locator('.opblock', { has: page.getByText('/v1/accounts', { exact: true }) })
      .first()
    await operation.locator('.opblock-summary').click()
    await operation.getByRole('button', { name: 'Execute' }).click()
    await operation.getByText('"gupshup-main"').first().waitFor()
    expect(faults).toEqual([])
  }, 90_000)
})
