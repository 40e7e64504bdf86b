/** The alert rules and the dashboard of docs/: that they say what they should, and ask for what there is. */
import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { checkoutDir } from '../scripts/checkout.ts'
import { endings } from './endings.ts'
import { useRedis } from './redis.ts'
import { allAccounts, replyButtons, startStack } from './stack.ts'

const onEnd = endings()
const file = (path: string) => readFileSync(join(checkoutDir, path), 'utf8')

/** Where Prometheus' own tool is: `PROMTOOL`, or on the path (Debian: the package `prometheus`). */
const promtool = process.env.PROMTOOL ?? 'promtool'
const hasPromtool = spawnSync(promtool, ['--version']).status === 0

describe('the alert rules', () => {
  if (!hasPromtool)
    console.warn(
      'SKIPPED: the alert rules were not tried, as there is no promtool (Debian: apt install prometheus)',
    )

  test.skipIf(!hasPromtool)('are rules, and fire when they should and only then', () => {
    const run = (...args: string[]) => execFileSync(promtool, args, { cwd: checkoutDir, encoding: 'utf8' })
    expect(run('check', 'rules', 'docs/alerts.yml')).toContain('SUCCESS')
    expect(run('test', 'rules', 'test/alerts.test.yml')).toContain('SUCCESS')
  })

  test('each have a case in which they fire', () => {
    const cases = file('test/alerts.test.yml')
    const alerts = [...file('docs/alerts.yml').matchAll(/- alert: (\w+)/g)].map(([, name]) => name!)
    expect(alerts.length).toBeGreaterThan(4)
    for (const alert of alerts) expect(cases).toContain(`alertname="${alert}"`)
  })
})

describe('every metric that is asked for is told', () => {
  let told: Set<string>

  beforeAll(async () => {
    const redis = await useRedis(onEnd)
    const stack = await startStack({ onEnd, redisUrl: redis.url, accounts: allAccounts() })
    await stack.startApi()
    const worker = await stack.startWorker()
    const id = await stack.send({ account: 'kaleyra-in', to: '919876543210', message: replyButtons() })
    await stack.until(id, ['submitted'])
    const [, port] = await worker.outputMatch(/"port":(\d+)/)
    const headers = { authorization: `Bearer ${stack.key}` }
    const texts = await Promise.all([
      fetch(`${stack.apiUrl}/metrics`, { headers }).then((answer) => answer.text()),
      fetch(`http://127.0.0.1:${port}/metrics`).then((answer) => answer.text()),
    ])
    const names = texts.flatMap((text) => [...text.matchAll(/^# TYPE (\w+) (\w+)$/gm)])
    told = new Set(
      names.flatMap(([, name, type]) =>
        type === 'histogram' ? ['bucket', 'sum', 'count'].map((part) => `${name}_${part}`) : [name!],
      ),
    )
  }, 60_000)

  test.each(['docs/alerts.yml', 'docs/grafana.json'])('%s', (path) => {
    const asked = new Set(
      [...file(path).matchAll(/\b(?:wa_dispatch|nodejs|process)_\w+/g)].map(([name]) => name),
    )
    expect(asked.size).toBeGreaterThan(5)
    expect([...asked].filter((name) => !told.has(name))).toEqual([])
  })

  test('and the dashboard is JSON whose panels all ask for something', () => {
    const { panels, title, templating } = JSON.parse(file('docs/grafana.json'))
    expect(title).toBe('wa-dispatch')
    expect(templating.list.map(({ name }: { name: string }) => name)).toEqual(['datasource', 'account'])
    expect(panels.length).toBeGreaterThan(8)
    expect(new Set(panels.map(({ id }: { id: number }) => id)).size).toBe(panels.length)
    for (const panel of panels) {
      if (panel.type === 'row') continue
      expect(panel.targets.length, panel.title).toBeGreaterThan(0)
      for (const { expr } of panel.targets) expect(expr, panel.title).toMatch(/wa_dispatch_|nodejs_/)
    }
  })
})
