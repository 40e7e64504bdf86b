import { type ChildProcess, spawn } from 'node:child_process'
import type { Socket } from 'node:net'

/** What must not outlive this process: a process of ours, or a container by its name. */
export type Guarded = { pid: number } | { container: string }

/**
 * Waits for the end of its standard input, which comes when the process that holds the other end is gone,
 * however it went, and then ends what is still on its list. A shell, because it must stay alive without us.
 */
const watch = `
items=
while read -r verb item; do
  if [ "$verb" = add ]; then items="$items $item"; continue; fi
  kept=
  for each in $items; do [ "$each" = "$item" ] || kept="$kept $each"; done
  items=$kept
done
for each in $items; do
  case $each in
    pid:*) kill -KILL "\${each#pid:}" ;;
    container:*) docker rm -f -v "\${each#container:}" ;;
  esac
done`

const items = new Set<string>()
let isWatching = false
let watcher: ChildProcess | undefined

/**
 * Ends `guarded` when this process ends, also when it is killed with SIGKILL. Gives a function that takes it
 * off the list; call it as soon as the process is known to have ended, because its id may be used again.
 */
export function guard(guarded: Guarded): () => void {
  const item = 'pid' in guarded ? `pid:${guarded.pid}` : `container:${guarded.container}`
  items.add(item)
  if (!isWatching) startWatching()
  tell(`add ${item}`)
  return () => {
    if (items.delete(item)) tell(`drop ${item}`)
  }
}

function startWatching(): void {
  isWatching = true
  process.on('exit', endProcesses)
  if (process.platform === 'win32') return
  // A session of its own: the Ctrl-C that ends us must not end it first.
  const started = spawn('/bin/sh', ['-c', watch], { detached: true, stdio: ['pipe', 'ignore', 'ignore'] })
  watcher = started
  started.on('error', () => undefined)
  started.stdin.on('error', () => undefined)
  // It must not keep us alive either.
  started.unref()
  ;(started.stdin as Socket).unref()
}

function tell(line: string): void {
  watcher?.stdin?.write(`${line}\n`)
}

/** On a normal end there is no need to wait for the watcher. */
function endProcesses(): void {
  for (const item of items) {
    if (!item.startsWith('pid:')) continue
    try {
      process.kill(Number(item.slice('pid:'.length)), 'SIGKILL')
    } catch {
      // It was gone already.
    }
  }
}
