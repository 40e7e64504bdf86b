import { spawn } from 'node:child_process'
import { mkdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { cacheDir, checkoutDir } from './checkout.ts'
import {
  dockerAnswers,
  findRedisServer,
  hasImage,
  noRedisMessage,
  redisImage,
  redisServerEnv,
} from './redis.ts'

// npm test [-- arguments of vitest]: types, lint, then every test. The last line is "N passed, N failed":
// what vitest's own report counts, and one each for types and lint.

interface Count {
  passed: number
  failed: number
  skipped: number
}

/** What is used of vitest's JSON report. */
interface Report {
  numPassedTests: number
  numFailedTests: number
  numPendingTests: number
  numTodoTests: number
  testResults: { name: string; status: string; message: string; assertionResults: { status: string }[] }[]
}

const total: Count = { passed: 0, failed: 0, skipped: 0 }
const vitestArgs = process.argv.slice(2)

await Promise.all([
  check('types', ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.json']),
  check('lint', ['node_modules/@biomejs/biome/bin/biome', 'ci', '--colors=off', '.']),
])
await runVitest(await arrangeRedis())

const skipped = total.skipped > 0 ? `, ${total.skipped} skipped` : ''
console.log(`\n${total.passed} passed, ${total.failed} failed${skipped}`)
process.exitCode = total.failed > 0 ? 1 : 0

/** One command that is right when it exits with 0; what it says is shown only when it is not. */
async function check(name: string, args: string[]): Promise<void> {
  const began = performance.now()
  const child = spawn(process.execPath, args, { cwd: checkoutDir, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
  }
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve))
  const seconds = ((performance.now() - began) / 1_000).toFixed(1)
  if (code !== 0) console.log(output.trimEnd())
  console.log(`${code === 0 ? '✓' : '✗'} ${name} (${seconds} s)`)
  total[code === 0 ? 'passed' : 'failed'] += 1
}

/**
 * Says to the tests where their servers come from. WA_TEST_REDIS is `container` or `binary`; without it, an
 * engine that answers decides. A program is named in both cases, if there is one: the tests that kill and
 * freeze a server need its process.
 */
async function arrangeRedis(): Promise<Record<string, string>> {
  const log = (line: string) => console.log(line)
  const problems: string[] = []
  const wanted = process.env.WA_TEST_REDIS
  if (wanted && wanted !== 'container' && wanted !== 'binary') {
    throw new Error(`WA_TEST_REDIS is "${wanted}", and can be "container" or "binary".`)
  }
  const container = wanted !== 'binary' && (await dockerAnswers()) && (await hasImage(redisImage, log))
  if (wanted === 'container' && !container) {
    throw new Error(
      `WA_TEST_REDIS is "container", but no Docker engine with the image ${redisImage} answers.`,
    )
  }
  const server = await findRedisServer({ log, problems })
  if (!container && !server) throw new Error(noRedisMessage(problems))
  console.log(`Redis of the tests: ${container ? `containers (${redisImage})` : server!.how}`)
  return {
    WA_TEST_REDIS: container ? 'container' : 'binary',
    ...(server ? redisServerEnv(server) : {}),
    ...(container ? await arrangeReaper(log) : {}),
  }
}

/**
 * Testcontainers starts a container that removes the others should the tests be killed. Where its image cannot
 * be had, the tests need not fail for that: each of them removes its own.
 */
async function arrangeReaper(log: (line: string) => void): Promise<Record<string, string>> {
  if (process.env.TESTCONTAINERS_RYUK_DISABLED === 'true') return {}
  const { getReaperImage } = await import('testcontainers/build/reaper/reaper.js')
  if (await hasImage(getReaperImage(), log)) return {}
  log("Without Testcontainers' reaper: its image cannot be pulled.")
  return { TESTCONTAINERS_RYUK_DISABLED: 'true' }
}

async function runVitest(env: Record<string, string>): Promise<void> {
  const reportFile = join(cacheDir, 'test', `report-${process.pid}.json`)
  await mkdir(join(cacheDir, 'test'), { recursive: true })
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${reportFile}`]
  const args = ['node_modules/vitest/vitest.mjs', 'run', ...reporters, ...vitestArgs]
  const child = spawn(process.execPath, args, {
    cwd: checkoutDir,
    stdio: 'inherit',
    env: { ...process.env, ...env },
  })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.kill(signal))
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve))

  const report = await readFile(reportFile, 'utf8').then(
    (text): Report => JSON.parse(text),
    () => undefined,
  )
  await rm(reportFile, { force: true })
  if (!report) {
    console.log('✗ vitest ended without a report')
    total.failed += 1
    return
  }
  total.passed += report.numPassedTests
  total.failed += report.numFailedTests
  total.skipped += report.numPendingTests + report.numTodoTests
  // A file that could not be loaded, or whose hooks failed, has no failed test of its own.
  for (const file of report.testResults) {
    if (file.status !== 'failed' || file.assertionResults.some(({ status }) => status === 'failed')) continue
    console.log(`✗ ${file.name}: ${file.message.split('\n')[0]}`)
    total.failed += 1
  }
  if (report.numPassedTests + report.numFailedTests === 0) {
    console.log('✗ no test ran')
    total.failed += 1
  } else if (code !== 0 && total.failed === 0) {
    console.log('✗ vitest failed although no test did: see its errors above')
    total.failed += 1
  }
}
