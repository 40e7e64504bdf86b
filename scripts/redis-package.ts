import { execFile } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { cacheDir } from './checkout.ts'

const run = promisify(execFile)

const unpackedDir = join(cacheDir, 'redis')
const systemLists = '/var/lib/apt/lists'

/** The server's program is in the tools' package; older and newer releases differ in who holds the link to it. */
const packageSets = [
  ['redis-server', 'redis-tools'],
  ['valkey-server', 'valkey-tools'],
] as const

export interface UnpackedServer {
  command: string
  env: Record<string, string>
}

/** The server that an earlier `unpackRedisPackage` left in the cache, if there is one. */
export function unpackedRedis(root: string = unpackedDir): UnpackedServer | undefined {
  for (const [server] of packageSets) {
    const command = join(root, 'usr/bin', server)
    if (existsSync(command)) return { command, env: { LD_LIBRARY_PATH: libraryFolders(root).join(':') } }
  }
  return undefined
}

/**
 * Downloads the distribution's own Redis with the libraries that this machine lacks, and unpacks them into the
 * checkout's cache. Needs apt (Debian, Ubuntu and their kin) and the distribution's mirror, but neither root
 * nor package lists; nothing is installed. apt checks signatures as always. Throws with apt's own words.
 */
export async function unpackRedisPackage(): Promise<UnpackedServer> {
  const work = `${unpackedDir}.${process.pid}`
  await rm(work, { recursive: true, force: true })
  try {
    const archives = await download(work)
    const root = join(work, 'root')
    await mkdir(root)
    for (const archive of archives) await run('dpkg-deb', ['--extract', archive, root])
    if (!unpackedRedis(root)) throw new Error('the packages hold no server')
    // Another run may have been faster; its result is as good.
    if (!unpackedRedis()) {
      await rm(unpackedDir, { recursive: true, force: true })
      await rename(root, unpackedDir)
    }
    return unpackedRedis()!
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

/** Gives the paths of the downloaded packages. */
async function download(work: string): Promise<string[]> {
  const archivesDir = join(work, 'cache/archives')
  await mkdir(join(archivesDir, 'partial'), { recursive: true })
  await mkdir(join(work, 'state/lists/partial'), { recursive: true })
  await mkdir(join(work, 'log'))

  const own = await writeConfiguration(work, join(work, 'state/lists'))
  const sources: { configuration: string; update: boolean }[] = [{ configuration: own, update: true }]
  if (hasLists(systemLists)) {
    // The machine's lists spare a download of some 20 MB, unless they are so old that the mirror moved on.
    sources.unshift({ configuration: await writeConfiguration(work, systemLists), update: false })
  }
  let failure: unknown
  const attempt = (configuration: string, args: string[]) =>
    apt(configuration, args).then(
      () => true,
      (error) => {
        // The first one says more: that the mirror is out of reach, not that a package is therefore unknown.
        failure ??= error
        return false
      },
    )
  for (const { configuration, update } of sources) {
    // One source out of reach need not be the one that is needed.
    if (update) await attempt(configuration, ['update'])
    for (const packages of packageSets) {
      // --reinstall: also what the system has counts, should it be there but out of reach.
      const flags = ['--yes', '--download-only', '--no-install-recommends', '--reinstall']
      if (!(await attempt(configuration, ['install', ...flags, ...packages]))) continue
      return readdirSync(archivesDir).flatMap((name) =>
        name.endsWith('.deb') ? [join(archivesDir, name)] : [],
      )
    }
    failure = update ? failure : undefined
  }
  throw new Error(`apt-get: ${aptMessage(failure)}`)
}

/** Passed with -c, which apt reads last: only there can what the system has configured be cleared. */
async function writeConfiguration(work: string, lists: string): Promise<string> {
  const file = join(work, lists === systemLists ? 'system.conf' : 'own.conf')
  const lines = [
    `Dir::State "${work}/state";`,
    `Dir::State::lists "${lists}";`,
    'Dir::State::status "/var/lib/dpkg/status";',
    `Dir::Cache "${work}/cache";`,
    `Dir::Log "${work}/log";`,
    // The lock is for installing; taking it needs root.
    'Debug::NoLocking "true";',
    // As root, apt would download as a user of its own, who may not write to the checkout.
    'APT::Sandbox::User "root";',
    'Acquire::Languages "none";',
    'APT::Update::Error-Mode "any";',
    'Acquire::Retries "2";',
    'Acquire::http::Timeout "30";',
    'Acquire::https::Timeout "30";',
    '#clear APT::Update::Pre-Invoke;',
    '#clear APT::Update::Post-Invoke;',
    '#clear APT::Update::Post-Invoke-Success;',
  ]
  await writeFile(file, `${lines.join('\n')}\n`)
  return file
}

async function apt(configuration: string, args: string[]): Promise<void> {
  const env = { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' }
  await run('apt-get', ['-c', configuration, '-qq', ...args], { env, timeout: 300_000 })
}

function aptMessage(error: unknown): string {
  const { stderr = '', message } = error as Error & { stderr?: string }
  const said = stderr.split('\n').filter((line) => line.startsWith('E: '))
  return said.length > 0 ? said.map((line) => line.slice(3)).join(' ') : message.trim()
}

function hasLists(folder: string): boolean {
  return existsSync(folder) && readdirSync(folder).some((name) => /_Packages(\.|$)/.test(name))
}

/** The folders in which a package puts shared libraries: by architecture, and plain. */
function libraryFolders(root: string): string[] {
  return ['usr/lib', 'lib']
    .map((folder) => join(root, folder))
    .filter((folder) => existsSync(folder))
    .flatMap((folder) => [
      ...readdirSync(folder, { withFileTypes: true })
        .filter((entry) => entry.isDirectory() && entry.name.includes('-linux-'))
        .map((entry) => join(folder, entry.name)),
      folder,
    ])
}
