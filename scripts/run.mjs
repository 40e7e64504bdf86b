// Starts scripts/<name>.ts on a machine that has nothing but Node >= 20 and npm: installs what is missing,
// finds a Node that runs TypeScript, and passes arguments, signals and the exit code through.
// Plain JavaScript without dependencies, because it runs before anything is installed.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import * as fs from 'node:fs'
import { constants } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath, pathToFileURL } from 'node:url'

const checkout = dirname(dirname(fileURLToPath(import.meta.url)))
const stampFile = join(checkout, 'node_modules', '.installed')
const lockFile = join(checkout, '.cache', 'install.lock')
const installCommand = ['npx', '-y', 'pnpm@12', 'install', '--frozen-lockfile']
const onWindows = process.platform === 'win32'

/** Every folder with a package.json of the workspace, the checkout itself first. */
function packageFolders() {
  const nested = ['apps', 'packages'].flatMap((group) => {
    const folder = join(checkout, group)
    return fs.existsSync(folder) ? fs.readdirSync(folder).map((name) => join(folder, name)) : []
  })
  return [checkout, ...nested.sort().filter((folder) => fs.existsSync(join(folder, 'package.json')))]
}

/** Changes when anything that decides about node_modules does; the platform is in it for checkouts that move. */
function wantedStamp() {
  const files = ['pnpm-lock.yaml', 'pnpm-workspace.yaml'].map((name) => join(checkout, name))
  const hash = createHash('sha256').update(`${process.platform} ${process.arch}`)
  for (const file of [...files, ...packageFolders().map((folder) => join(folder, 'package.json'))]) {
    hash.update(`\n${file.slice(checkout.length)}\n`).update(fs.readFileSync(file))
  }
  return hash.digest('hex')
}

function isInstalled() {
  const stamp = fs.existsSync(stampFile) ? fs.readFileSync(stampFile, 'utf8') : ''
  return stamp === wantedStamp() && packageFolders().every((at) => fs.existsSync(join(at, 'node_modules')))
}

/** One that has ended and was never collected (state Z) holds no lock. */
function isAlive(pid) {
  try {
    process.kill(pid, 0)
  } catch (error) {
    return error.code === 'EPERM'
  }
  try {
    return !/\) Z/.test(fs.readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return true
  }
}

/** Two runs must not install at once: link() is atomic, and the file names its owner from the first moment. */
async function withInstallLock(work) {
  fs.mkdirSync(dirname(lockFile), { recursive: true })
  const mine = `${lockFile}.${process.pid}`
  fs.writeFileSync(mine, String(process.pid))
  let told = false
  for (;;) {
    try {
      fs.linkSync(mine, lockFile)
      break
    } catch (error) {
      if (error.code !== 'EEXIST') throw error
    }
    let owner = 0
    try {
      owner = Number(fs.readFileSync(lockFile, 'utf8'))
    } catch {
      continue
    }
    if (!isAlive(owner)) fs.rmSync(lockFile, { force: true })
    else if (!told) {
      told = true
      console.error(`Waiting for another run (process ${owner}) to finish installing …`)
    }
    await sleep(200)
  }
  process.once('exit', () => {
    fs.rmSync(lockFile, { force: true })
    fs.rmSync(mine, { force: true })
  })
  await work()
  fs.rmSync(lockFile, { force: true })
}

/**
 * Starts a command in a session of its own. Ctrl-C in a terminal reaches every process of this one's group,
 * and npm passes the same signal on once more; a program for which a second signal means "at once" would
 * never get to stop gracefully. So the child hears it from here only, and once.
 */
function start(command, args, options) {
  const child = spawn(command, args, { cwd: checkout, detached: !onWindows, shell: onWindows, ...options })
  const forwardedAt = new Map()
  const forward = (signal) => {
    const at = Date.now()
    if (at - (forwardedAt.get(signal) ?? 0) < 1_000) return
    forwardedAt.set(signal, at)
    child.kill(signal)
  }
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP']
  for (const signal of signals) process.on(signal, forward)
  return {
    child,
    exit: new Promise((resolve, reject) => {
      child.once('error', reject)
      child.once('close', (code, signal) => {
        for (const name of signals) process.off(name, forward)
        endGroup(child.pid)
        resolve({ code: code ?? 128 + constants.signals[signal], interrupted: forwardedAt.size > 0 })
      })
    }),
  }
}

/** What the child may have left behind in its group. */
function endGroup(pid) {
  if (onWindows) return
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // Nothing was left, which is the rule.
  }
}

function fail(message) {
  console.error(`\n${message}`)
  process.exit(1)
}

async function install() {
  if (isInstalled()) return
  console.error('Installing dependencies (the first time this takes a minute or two) …')
  const began = Date.now()
  // CI: pnpm asks no questions. NODE_ENV=production would leave out what tests and demo need.
  const { NODE_ENV: _, ...env } = process.env
  const [command, ...args] = installCommand
  const { child, exit } = start(command, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...env, CI: 'true' },
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (output += data))
  const { code, interrupted } = await exit.catch((error) =>
    fail(`Cannot run npx (${error.code}): install npm, which brings it, and try again.`),
  )
  if (interrupted) process.exit(code === 0 ? 130 : code)
  if (code !== 0) {
    console.error(output.trimEnd())
    fail(
      output.includes('ERR_PNPM_OUTDATED_LOCKFILE')
        ? 'A package.json changed without its lock file. Run: npx -y pnpm@12 install'
        : `Installing the dependencies failed (exit code ${code}). Is the npm registry in reach and the disk not full? To try by hand: ${installCommand.join(' ')}`,
    )
  }
  fs.writeFileSync(stampFile, wantedStamp())
  console.error(`Installed in ${Math.round((Date.now() - began) / 1000)} s.`)
}

/** This Node when it is new enough and strips types by itself, else the one that was installed with the rest. */
function chooseNode() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  const newEnough = major > 22 || (major === 22 && minor >= 22)
  if (newEnough && process.features.typescript) return process.execPath
  const packaged = join(checkout, 'node_modules', 'node', 'bin', onWindows ? 'node.exe' : 'node')
  if (fs.existsSync(packaged)) return packaged
  return fail(
    `Node ${process.versions.node} is too old and no newer one could be installed here. Install Node 22.22 or newer.`,
  )
}

const [name, ...args] = process.argv.slice(2)
const script = join(checkout, 'scripts', `${name}.ts`)
if (!name || !fs.existsSync(script)) fail('Usage: node scripts/run.mjs demo|test|bench [arguments]')

if (!isInstalled()) await withInstallLock(install)
const node = chooseNode()
const endWithParent = pathToFileURL(join(checkout, 'scripts', 'end-with-parent.mjs')).href
const { exit } = start(node, ['--import', endWithParent, script, ...args], {
  // `node` means the same one to whatever the script starts.
  env: { ...process.env, PATH: `${dirname(node)}${delimiter}${process.env.PATH}` },
  stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
  shell: false,
})
process.exitCode = (await exit).code
