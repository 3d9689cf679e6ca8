import { el } from './dom.js'
import { views } from './views.js'

const main = document.getElementById('main'), nav = document.getElementById('nav'), state = document.getElementById('state')
let me = {}, picture, source, view, timer

// ask asks one node, and all asks every node; both return what was answered, or throw an Error with what is wrong.
async function post(path, body) {
  const r = await fetch(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body || {}) })
  const answer = r.status === 204 ? {} : await r.json().catch(() => ({ error: r.statusText }))
  if (r.status === 401 && path !== 'login') { start(); throw new Error('log in first') }
  if (!r.ok) throw Object.assign(new Error(answer.error), answer)
  return answer
}
const ask = (node, message, body) => post('ask/' + message + '?node=' + encodeURIComponent(node || ''), body)
const all = (message, body) => post('all/' + message, body)

function route() {
  const [name, query] = (location.hash.replace(/^#\//, '') || 'topology').split('?')
  return { name: views[name] ? name : 'topology', params: Object.fromEntries(new URLSearchParams(query)) }
}

// show draws the view that the address names. A view has draw(context), which fills the content, and may have live(picture),
// which is called for each picture, and again, which is called every few seconds.
async function show() {
  clearInterval(timer)
  const { name, params } = route()
  const tabs = Object.entries(views).filter(([, v]) => v.title)
  nav.replaceChildren(...tabs.map(([id, v]) => el('a', { href: '#/' + id, 'aria-current': id === name || views[name].of === id ? 'page' : undefined }, v.title, badge(id))))
  document.title = (views[name].title || params.name || name) + ' – Tandem'
  const at = el('div', {})
  main.replaceChildren(at)
  const mine = { at, params, ask, all, operate: me.operate, picture: () => picture, say, go: p => { location.hash = '#/' + name + '?' + new URLSearchParams(p) } }
  view = views[name].make(mine)
  try {
    await view.draw?.()
    if (picture) view.live?.(picture)
    if (view.again) timer = setInterval(() => view.again().catch(fault), 2000)
  } catch (e) { fault(e) }
}

const badge = id => { const n = (picture?.Alerts || []).filter(a => a.View === id).length; return n > 0 && el('span', { class: 'n', title: 'alerts' }, n) }
const fault = e => say(e.message, 'bad')

// say tells what has happened, for those who see it and those who hear it.
function say(text, cls) {
  let line = main.querySelector('.said')
  if (!line) main.prepend(line = el('p', { class: 'said', role: 'status' }))
  line.className = 'said ' + (cls || '')
  line.textContent = text
}

function follow() {
  source?.close()
  source = new EventSource('live')
  source.onmessage = e => {
    picture = JSON.parse(e.data)
    const severe = (picture.Alerts || []).filter(a => a.Severe).length
    const away = (picture.Nodes || []).filter(n => n.Away).length
    state.textContent = `${(picture.Nodes || []).length - away} nodes` + (severe ? `, ${severe} severe` : '') + `, ${new Date(picture.At).toLocaleTimeString([], { hour12: false })}`
    state.className = severe ? 'bad' : 'dim'
    for (const a of nav.children) { const id = a.getAttribute('href').slice(2), b = badge(id); a.querySelector('.n')?.remove(); if (b) a.append(b) }
    view?.live?.(picture)
  }
  source.onerror = () => { state.textContent = 'no connection'; state.className = 'bad' }
}

function login() {
  source?.close()
  clearInterval(timer)
  nav.replaceChildren()
  const token = el('input', { type: 'password', name: 'token', autocomplete: 'current-password', required: true })
  const said = el('p', { class: 'said bad', role: 'alert' })
  main.replaceChildren(el('form', { class: 'login', onsubmit: async e => {
    e.preventDefault()
    try { await post('login', { Token: token.value }); start() } catch (err) { said.textContent = err.message }
  } }, el('h1', {}, 'Log in'), el('label', {}, 'Token', token), el('button', {}, 'Log in'), said))
  token.focus()
}

async function start() {
  me = await fetch('me').then(r => r.json())
  document.getElementById('logout').hidden = !me.in || !me.tokens
  if (!me.in) return login()
  follow()
  show()
}

document.getElementById('logout').addEventListener('click', async () => { await post('logout'); start() })
addEventListener('hashchange', () => { show(); main.focus() })
addEventListener('keydown', e => { // g and the first letter of a view goes there; / to the first field
  if (e.target.matches('input, select, textarea') || e.ctrlKey || e.metaKey || e.altKey) return
  if (e.key === '/') { main.querySelector('input')?.focus(); e.preventDefault(); return }
  if (show.g && Date.now() - show.g < 1500) { const id = Object.keys(views).find(v => views[v].key === e.key); if (id) location.hash = '#/' + id }
  show.g = e.key === 'g' ? Date.now() : 0
})
start()
