// Loaded by run.mjs in front of the script it starts: when run.mjs is gone without having been able to say
// so (SIGKILL), its end of the channel closes, and this process asks itself to stop as Ctrl-C would.
if (process.channel) {
  process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'))
  // A channel with a listener would keep a finished script alive.
  process.channel.unref()
}
