/** The dashboard's own few pages; everything behind them is bull-board's. */

const escapes: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}
const escapeHtml = (text: string): string => text.replace(/[&<>"']/g, (character) => escapes[character]!)

const STYLE = `
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { min-height: 100vh; margin: 0; display: grid; place-items: center; background: light-dark(#f2f4f7, #151a21) }
main { width: min(22rem, 90vw); padding: 2rem; border-radius: .75rem; background: light-dark(#fff, #1f2630); box-shadow: 0 1px 12px #0002 }
h1 { margin: 0 0 1rem; font-size: 1.25rem }
label { display: block; margin-bottom: .25rem }
input, button { width: 100%; box-sizing: border-box; padding: .6rem .75rem; border-radius: .4rem; font: inherit }
input { border: 1px solid #8886 }
button { margin-top: 1rem; border: 0; background: #0a7c52; color: #fff; cursor: pointer }
p[role=alert] { margin: 0 0 1rem; color: light-dark(#b42318, #ff8a80) }
a { display: inline-block; margin-top: 1rem }
`

const page = (title: string, content: string): string => `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<link rel="icon" href="data:,">
<title>${title}</title>
<style>${STYLE}</style>
</head>
<body><main>${content}</main></body>
</html>
`

export const loginPage = (token: string, error?: string): string =>
  page(
    'Log in · wa-dispatch',
    `<h1>wa-dispatch</h1>
${error ? `<p role="alert">${escapeHtml(error)}</p>` : ''}
<form method="post" action="/dashboard/login">
<input type="hidden" name="token" value="${escapeHtml(token)}">
<label for="key">API key with the scope admin</label>
<input id="key" name="key" type="password" required autofocus autocomplete="current-password">
<button>Log in</button>
</form>`,
  )

export const logoutPage = (token: string, name: string): string =>
  page(
    'Log out · wa-dispatch',
    `<h1>Logged in with the key ${escapeHtml(name)}</h1>
<form method="post" action="/dashboard/logout">
<input type="hidden" name="token" value="${escapeHtml(token)}">
<button>Log out</button>
</form>
<a href="/dashboard">Back to the lanes</a>`,
  )
