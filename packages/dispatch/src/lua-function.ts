/**
 * A script as a Lua function, for scripts that run it for many. BullMQ's define forty functions of their own before they
 * do anything, which takes Redis as long as a third of what they do: here these are defined once.
 */

/** What stands in front of a script's first statement: comments, functions, and a short name for Redis' own. */
const DEFINES = /^(--|local function |local \w+ = function ?\(|end$|local rcall = redis\.call$|\s|$)/

/** @returns Lua that defines a local function of this name, with KEYS and ARGV as its parameters */
export function luaFunction(name: string, lua: string): string {
  const lines = lua.replace(/--\[\[.*?\]\]/gs, '').split('\n')
  const begins = lines.findIndex((line) => !DEFINES.test(line))
  const definitions = lines.slice(0, begins).join('\n')
  // Functions that see keys or arguments have to be defined anew with each.
  const [once, each] = /\b(KEYS|ARGV)\b/.test(definitions)
    ? ['', lua]
    : [definitions, lines.slice(begins).join('\n')]
  return `local ${name}
do
${once}
${name} = function(KEYS, ARGV)
${each}
end
end`
}
