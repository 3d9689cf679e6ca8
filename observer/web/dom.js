// What makes elements. Text is always text: nothing here parses HTML.
const SVG = 'http://www.w3.org/2000/svg'

function fill(e, attrs, children) {
  for (const [name, value] of Object.entries(attrs || {})) {
    if (value === undefined || value === null || value === false) continue
    if (name.startsWith('on')) e.addEventListener(name.slice(2), value)
    else if (name === 'value') e.value = value
    else e.setAttribute(name, value === true ? '' : String(value))
  }
  e.append(...children.flat(Infinity).filter(c => c !== undefined && c !== null && c !== false).map(c => (c instanceof Node ? c : document.createTextNode(String(c)))))
  return e
}

export const el = (name, attrs, ...children) => fill(document.createElement(name), attrs, children)
export const svg = (name, attrs, ...children) => fill(document.createElementNS(SVG, name), attrs, children)

// put replaces what an element has.
export function put(e, ...children) {
  e.replaceChildren()
  fill(e, {}, children)
}

// to is a link to a view, with its parameters.
export function to(view, params, text) {
  const query = new URLSearchParams(Object.entries(params || {}).filter(([, v]) => v !== undefined && v !== '')).toString()
  return el('a', { href: '#/' + view + (query ? '?' + query : '') }, text)
}

// table has columns of [title, what of a row, class].
export function table(caption, columns, rows, none) {
  if (!rows || rows.length === 0) return el('p', { class: 'dim' }, none || 'There is none.')
  return el('div', { class: 'scroll' }, el('table', { 'aria-label': caption },
    el('thead', {}, el('tr', {}, columns.map(([title, , cls]) => el('th', { scope: 'col', class: cls }, title)))),
    el('tbody', {}, rows.map(r => el('tr', {}, columns.map(([, of, cls]) => el('td', { class: cls }, of(r))))))))
}

// Durations are in nanoseconds.
export function span(ns) {
  if (!ns) return '–'
  const units = [[1e3, 'ns'], [1e6, 'µs', 1e3], [1e9, 'ms', 1e6], [120e9, 's', 1e9], [7200e9, 'min', 60e9], [172800e9, 'h', 3600e9], [Infinity, 'd', 86400e9]]
  for (const [below, unit, by] of units) if (ns < below) { const v = ns / (by || 1); return (v < 10 && by ? v.toFixed(1) : Math.round(v)) + ' ' + unit }
}

export const ago = (time, now) => (time && !time.startsWith('0001') ? span(Math.max(1e6, ((now ? Date.parse(now) : Date.now()) - Date.parse(time)) * 1e6)) : '–')
export const clock = time => new Date(time).toLocaleTimeString([], { hour12: false }) + '.' + String(new Date(time).getMilliseconds()).padStart(3, '0')
export const many = n => (n === undefined || n === null ? '–' : n >= 1e9 ? (n / 1e9).toFixed(1) + ' G' : n >= 1e6 ? (n / 1e6).toFixed(1) + ' M' : n >= 1e4 ? (n / 1e3).toFixed(0) + ' k' : n % 1 ? n.toFixed(1) : String(n))
export const bytes = n => (n >= 1 << 30 ? (n / (1 << 30)).toFixed(1) + ' GiB' : n >= 1 << 20 ? (n / (1 << 20)).toFixed(1) + ' MiB' : n >= 1024 ? (n / 1024).toFixed(0) + ' KiB' : n + ' B')
