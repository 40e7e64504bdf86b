/**
 * A script as a Lua function, for scripts that run it for many. BullMQ's define up to forty functions of their own before
 * they do anything, which takes Redis as long as a third of what they do: here these are defined once.
 */

/** What a script keeps for itself and for its functions: each call sets it anew. */
const KEEPS = /^local (\w+)(?: = (.*[\w\])'"]))?$/
const DEFINES = /^(local function |local \w+ = function ?\(|end$)/
const CONTINUES = /^(\s|$)/

/**
 * Of the script's lines, those that begin at the left margin tell its parts: first what it keeps, then its functions, then
 * what it does.
 * @returns Lua that defines a local function of this name, with KEYS and ARGV as its parameters
 */
export function luaFunction(name: string, lua: string): string {
  const lines = lua.split('\n')
  const kept: RegExpExecArray[] = []
  const definitions: string[] = []
  let at = 0
  for (let inComment = false; at < lines.length; at++) {
    const line = lines[at]!
    if (inComment || line.startsWith('--')) {
      inComment = (inComment || line.startsWith('--[[')) && !line.includes(']]')
    } else if (DEFINES.test(line) || CONTINUES.test(line)) {
      definitions.push(line)
    } else {
      const found = KEEPS.exec(line)
      if (!found || definitions.some((defined) => !CONTINUES.test(defined))) break
      kept.push(found)
    }
  }
  return `local ${name}
do
local KEYS, ARGV
${kept.map(([, variable]) => `local ${variable}`).join('\n')}
${definitions.join('\n')}
local function act()
${lines.slice(at).join('\n')}
end
${name} = function(keys, arguments)
KEYS, ARGV = keys, arguments
${kept.map(([, variable, value = 'nil']) => `${variable} = ${value}`).join('\n')}
return act()
end
end`
}
