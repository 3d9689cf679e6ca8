import { el, put, svg, to, table, span, ago, clock, many, bytes } from './dom.js'

const node = n => to('node', { name: n }, n)
const actorLink = (name, at) => to('actor', { name, node: at }, name + '@' + at)
const button = (text, run, cls) => el('button', { type: 'button', class: cls, onclick: run }, text)

// rows joins what all nodes have answered: of each reply the list of that name, with the node; nodes that have not answered are told.
function rows(c, answers, list) {
  const failed = answers.filter(a => a.Error)
  c.say(failed.map(a => a.Node + ': ' + a.Error.error).join('; '), failed.length ? 'warn' : '')
  return answers.flatMap(a => (a.Reply?.[list] || []).map(r => ({ ...r, Node: r.Node || a.Node })))
}

// form is a bar of fields, whose values are parameters of the address, so that a view can be sent to somebody.
function form(c, fields) {
  const inputs = fields.map(([name, label, options]) => [name, label, options
    ? el('select', { name }, options.map(([v, text]) => el('option', { value: v, selected: (c.params[name] || '') === v }, text)))
    : el('input', { name, value: c.params[name] || '' })])
  return el('form', { class: 'bar', onsubmit: e => { e.preventDefault(); c.go(Object.fromEntries(inputs.map(([n, , i]) => [n, i.value]).filter(([, v]) => v))) } },
    inputs.map(([, label, input]) => el('label', {}, label, input)), el('button', {}, 'Show'))
}

const nodesOf = c => [['', 'all nodes'], ...(c.picture()?.Nodes || []).map(n => [n.Name, n.Name])]
const where = async (c, message, q) => (c.params.node ? [{ Node: c.params.node, Reply: await c.ask(c.params.node, message, q) }] : c.all(message, q))

// sure asks before something is changed that cannot be taken back.
const sure = text => confirm(text)

function alerts(p, of) {
  const all = (p.Alerts || []).filter(a => !of || a.View === of)
  return el('ul', { class: 'alerts', 'aria-label': 'Alerts' }, all.map(a => el('li', { class: a.Severe ? 'severe' : '' }, a.Text, ' ', el('span', { class: 'dim' }, 'for ' + ago(a.Since, p.At)), !of && to(a.View, {}, 'show'))))
}

// map draws the nodes on a circle, and an edge for each road on which messages go.
function map(p) {
  const nodes = p.Nodes || [], n = nodes.length, r = Math.min(Math.max(110, 16 * n), 440), mid = r + 30, few = n <= 12, at = new Map()
  nodes.forEach((x, i) => { const a = (2 * Math.PI * i) / Math.max(n, 1) - Math.PI / 2; at.set(x.Name, { x: mid + r * Math.cos(a), y: mid + r * Math.sin(a), a }) })
  const troubled = new Set((p.Alerts || []).map(a => a.Node))
  const edges = (p.Edges || []).filter(e => at.has(e.From) && at.has(e.To) && (e.Road || e.Waiting)).map(e => {
    const a = at.get(e.From), b = at.get(e.To), bend = few ? 0.14 : 0.06, mx = (a.x + b.x) / 2 + (b.y - a.y) * bend, my = (a.y + b.y) / 2 - (b.x - a.x) * bend
    const kind = !e.Road ? 'cut' : e.Road === 'nats' || e.Road === 'bus' ? 'bus' : 'direct'
    const label = few && svg('text', { class: 'label', x: (a.x + b.x) / 4 + mx / 2, y: (a.y + b.y) / 4 + my / 2 + 3, 'text-anchor': 'middle' }, e.Road ? `${e.Road} ${many(e.Rate)}/s ${span(e.RTT)}` : 'cut')
    return [svg('path', { class: 'edge ' + kind, d: `M${a.x.toFixed(1)} ${a.y.toFixed(1)} Q${mx.toFixed(1)} ${my.toFixed(1)} ${b.x.toFixed(1)} ${b.y.toFixed(1)}`, 'stroke-width': e.Road ? ((few ? 1.2 : 0.7) + Math.log10(1 + e.Rate)).toFixed(2) : undefined },
      svg('title', {}, `${e.From} to ${e.To}: ${e.Road || 'no road'} of ${(e.Roads || []).join(', ') || 'none'}, ${many(e.Rate)} messages/s, ${span(e.RTT)} round trip, ${e.Waiting} waiting`)), label]
  })
  const spots = nodes.map(x => {
    const s = at.get(x.Name), end = Math.cos(s.a) < -0.01, name = svg('text', { x: s.x + (end ? -16 : 16), y: s.y + 4, 'text-anchor': end ? 'end' : 'start' }, n > 120 ? '' : x.Name)
    return svg('a', { href: '#/node?name=' + encodeURIComponent(x.Name), 'aria-label': x.Name + (x.Away ? ', away' : '') }, svg('circle', { class: 'spot' + (x.Away ? ' away' : troubled.has(x.Name) ? ' alert' : ''), cx: s.x, cy: s.y, r: n > 60 ? 5 : 10 }, svg('title', {}, x.Name + (x.Away ? ': ' + x.Away : ''))), name)
  })
  return svg('svg', { class: 'map', viewBox: `${-60 - r / 4} 0 ${2 * mid + 120 + r / 2} ${2 * mid}`, role: 'img', 'aria-label': `${n} nodes and the roads between them` }, edges.map(e => e[0]), edges.map(e => e[1]).filter(Boolean), spots)
}

const nodeColumns = [['Node', n => node(n.Name)], ['State', n => (n.Away ? el('span', { class: 'bad' }, 'away for ' + ago(n.Since)) : el('span', { class: 'good' }, 'answers'))],
  ['Version', n => n.Version], ['Zone', n => n.Zone], ['Up', n => ago(n.Started)], ['Actors', n => many(n.Actors), 'num'], ['Handled/s', n => many(n.Handled), 'num'],
  ['Asked/s', n => many(n.Requests), 'num'], ['Served/s', n => many(n.Served), 'num'], ['Waiting', n => many(n.Outstanding), 'num'], ['Replayed', n => many(n.Replayed), 'num'],
  ['Copies', n => many(n.Attached), 'num'], ['Retries', n => many(n.Retries), 'num'], ['Panics', n => many(n.Panics), 'num'], ['Dead letters', n => many(n.LettersKept), 'num'], ['Records', n => many(n.Records), 'num'],
  ['Held', n => bytes(n.HeldBytes || 0), 'num'], ['Heap', n => bytes(n.Heap || 0), 'num']]

const busyColumns = [['Actor', a => actorLink(a.Name, a.Node)], ['Kind', a => a.Kind], ['Handles', a => a.Running || '–'], ['For', a => span(a.For), 'num'], ['Waiting', a => many(a.Waiting), 'num'],
  ['Handled', a => many(a.Handled), 'num'], ['Failed', a => many(a.Failed), 'num'], ['Restarts', a => many(a.Restarts), 'num'], ['Stage', a => a.Stage]]

const eventColumns = [['Time', e => clock(e.Time)], ['Node', e => node(e.Node)], ['Event', e => e.Type], ['About', e => [e.Service, e.Actor, e.Peer, e.Road].filter(Boolean).join(' ')], ['Error', e => e.Error, 'wrap']]

const queueColumns = [['Queue', q => to('queue', { name: q.Name, node: q.Node }, q.Name + '@' + q.Node)], ['Items', q => q.Item], ['Ready', q => many(q.Depth), 'num'], ['Oldest', q => span(q.Oldest), 'num'], ['Delayed', q => many(q.Delayed), 'num'],
  ['In hand', q => many(q.InFlight), 'num'], ['Dead', q => el('span', { class: q.Dead ? 'bad' : '' }, many(q.Dead)), 'num'], ['Consumers', q => many(q.Waiting), 'num'], ['Acked', q => many(q.Acked), 'num'], ['Again', q => many(q.Redeliveries), 'num'],
  ['State', q => (q.Error ? el('span', { class: 'bad' }, q.Error) : q.Paused ? el('span', { class: 'warn' }, 'paused') : '')]]

const requestColumns = [['Last', r => clock(r.Last)], ['Request', r => to('why', { id: r.ID || r.Job }, r.ID || r.Job)], ['Node', r => node(r.Node)], ['Side', r => r.Side], ['Peer', r => r.Peer], ['Target', r => r.Target], ['Type', r => r.Type],
  ['Took', r => span((Date.parse(r.Last) - Date.parse(r.First)) * 1e6), 'num'], ['Now', r => r.What], ['Outcome', r => el('span', { class: r.Ran === 'unknown' ? 'bad' : r.Code ? 'warn' : '' }, [r.Code, r.Ran].filter(Boolean).join(', '))], ['Key', r => r.Key]]

const pairs = (list) => el('dl', {}, list.filter(([, v]) => v !== undefined && v !== '' && v !== null).map(([k, v]) => [el('dt', {}, k), el('dd', {}, v)]))
const joined = m => Object.entries(m || {}).map(([k, v]) => k + ': ' + [].concat(v).join(', ')).join('; ')

// falls draws the steps of a request on one line of time.
function falls(life) {
  const steps = life.Steps || [], times = steps.map(s => Date.parse(s.Time)).filter(t => t > 0), from = Math.min(...times), whole = Math.max(Math.max(...times) - from, 1)
  return el('div', { class: 'falls' }, steps.map(s => {
    const t = Date.parse(s.Time), x = t > 0 ? (1000 * (t - from)) / whole : 0
    const text = [s.What, s.Road && 'on ' + s.Road, s.Peer && (s.Side === 'client' ? 'to ' : 'from ') + s.Peer, s.Principal && 'for ' + s.Principal, s.Code, s.Ran, s.Other && 'request ' + s.Other, s.Left ? s.Left + ' steps are not kept' : ''].filter(Boolean).join(', ')
    return el('div', { class: 'step' }, el('span', { class: 'dim' }, t > 0 ? '+' + (t - from) + ' ms' : '–'), el('span', {}, s.Node, ' ', el('span', { class: 'dim' }, s.Side)),
      el('span', {}, el('span', { class: s.Code ? 'warn' : s.What === 'replayed' || s.What === 'answered again' ? 'good' : '' }, text)),
      svg('svg', { class: 'track', viewBox: '0 0 1010 16', preserveAspectRatio: 'none', 'aria-hidden': 'true' }, svg('circle', { class: 'spot', cx: 5 + x, cy: 8, r: 5 })))
  }))
}

export const views = {
  topology: { title: 'Topology', key: 't', make: c => ({ live: p => put(c.at, el('h1', {}, 'Topology'), alerts(p), map(p), p.Cut ? el('p', { class: 'dim' }, p.Cut + ' quieter edges are left out') : '', el('p', { class: 'dim' }, 'Solid blue: the direct road. Dashed orange: the bus. Dotted red: no road, and requests wait.')) }) },

  nodes: { title: 'Nodes', key: 'n', make: c => ({ live: p => put(c.at, el('h1', {}, 'Nodes'), alerts(p, 'nodes'), table('Nodes', nodeColumns, p.Nodes)) }) },

  node: { of: 'nodes', make: c => ({ async again() { await this.draw() }, async draw() {
    const name = c.params.name, [i, sessions] = await Promise.all([c.ask(name, 'Overview'), c.ask(name, 'Sessions', { Limit: 200 })])
    put(c.at, el('h1', {}, 'Node ' + name), pairs([['Epoch', i.Epoch], ['Principal', i.Principal], ['Addresses', joined(i.Addrs)], ['Services', joined(i.Services)], ['Virtual kinds', (i.Kinds || []).join(', ')], ['Go', i.GoVersion + ', ' + i.CPUs + ' CPUs'],
      ['Goroutines', many(i.Goroutines)], ['Heap', bytes(i.Heap)], ['Log', i.Level], ['Lease', i.LeaseEnded ? 'ended' : '']]),
    el('h2', {}, 'Peers'), table('Peers', [['Peer', p => node(p.Node)], ['Road', p => p.Road || '–'], ['Links', p => (p.Links || []).map(l => `${l.Road}${l.Current ? ' (used)' : ''} ${span(l.RTT)} ${l.Denied}`).join('; '), 'wrap'], ['Waiting', p => many(p.Outstanding), 'num'], ['Unresolved', p => many(p.Unresolved), 'num'], ['Requests', p => many(p.Requests), 'num'], ['Tells', p => many(p.Tells), 'num'], ['Leaving', p => (p.Leaving ? 'yes' : '')]], i.Peers),
    el('h2', {}, 'Sessions that others have here'), table('Sessions', [['Session', s => s.ID], ['From', s => s.Node], ['Principal', s => s.Principal], ['Proved', s => (s.Proved ? 'yes' : el('span', { class: 'warn' }, 'no'))], ['Roads', s => (s.Roads || []).join(', ')], ['Records', s => many(s.Records), 'num'], ['Served', s => many(s.Served), 'num']], sessions.Sessions),
    el('h2', {}, 'Busy actors'), table('Busy actors', busyColumns, i.Busy, 'All are idle.'))
  } }) },

  services: { title: 'Services', key: 's', make: c => ({ live: p => put(c.at, el('h1', {}, 'Services'), alerts(p, 'services'), (p.Services || []).map(s => el('section', {}, el('h2', {}, s.Name, ' ', el('span', { class: 'dim' }, s.Policy, s.Weights ? ', weights ' + joined(s.Weights) : '')),
    table(s.Name, [['Instance', i => { const [a, n] = i.Address.split('@'); return actorLink(a, n) }], ['Version', i => i.Version], ['Zone', i => i.Zone], ['Latency', i => span(i.Latency), 'num'], ['Waiting', i => many(i.Outstanding), 'num'],
      ['State', i => (i.EjectedBy ? el('span', { class: 'bad' }, 'left out by ' + i.EjectedBy.join(', ') + ': ' + i.Why) : el('span', { class: 'good' }, 'in use'))]], s.Instances)))) }) },

  actors: { title: 'Actors', key: 'a', make: c => ({ async again() { await this.draw(true) }, async draw(again) {
    const by = c.params.by || 'busy', q = { Kind: c.params.kind || '', Prefix: c.params.prefix || '', Stage: c.params.stage || '', By: by, Limit: 100, After: c.params.after || '' }
    const answers = await where(c, 'Actors', q), all = rows(c, answers, 'Actors'), key = { busy: a => -a.For, waiting: a => -a.Waiting, failed: a => -a.Failed }[by]
    if (key) all.sort((a, b) => key(a) - key(b)); else all.sort((a, b) => (a.Name < b.Name ? -1 : 1))
    const seen = answers.reduce((n, a) => n + (a.Reply?.Seen || 0), 0), next = by === 'name' && answers.length === 1 && answers[0].Reply.Next
    const list = el('div', { id: 'list' }, el('p', { class: 'dim' }, seen + ' actors match'), table('Actors', busyColumns, all.slice(0, 200)), next && to('actors', { ...c.params, after: next }, 'Next page'))
    if (again && document.getElementById('list')) return document.getElementById('list').replaceWith(list)
    put(c.at, el('h1', {}, 'Actors'), alerts(c.picture() || {}, 'actors'), form(c, [['by', 'Order', [['busy', 'age of the oldest message'], ['waiting', 'messages that wait'], ['failed', 'failures'], ['name', 'name']]], ['node', 'Node', nodesOf(c)], ['kind', 'Kind'], ['prefix', 'Name begins with'], ['stage', 'Stage', [['', 'any'], ...['starting', 'working', 'suspended', 'ending', 'closing'].map(s => [s, s])]]]), list)
  } }) },

  actor: { of: 'actors', make: c => ({ async again() { await this.draw() }, async draw() {
    const { name, node: at } = c.params, [a, r] = await Promise.all([c.ask(at, 'Actor', { Name: name }), c.ask(at, 'Requests', { Target: name, Limit: 30 })]), d = a.Details || {}
    const stop = now => async () => { if (!sure(`Stop ${name}@${at}${now ? ' at once' : ''}?`)) return; try { await c.ask(at, 'StopActor', { Name: name, Now: now }); c.say(name + ' has ended') } catch (e) { c.say(e.message, 'bad') } }
    put(c.at, el('h1', {}, name + '@' + at), pairs([['Kind', a.Kind], ['Stage', a.Stage], ['Parent', a.Parent && actorLink(a.Parent, at)], ['Behaviour', a.Behaviour], ['Handles now', a.Running && a.Running + ', for ' + span(a.For)], ['Messages that wait', many(a.Waiting)], ['Put aside', a.Stashed || ''], ['Handled', many(a.Handled)], ['Failed', many(a.Failed)],
      ['Restarts', many(a.Restarts)], ['Timers', a.Timers || ''], ['Children', (d.Children || []).map(n => [actorLink(n, at), ' '])], ['Watches', (d.Watching || []).join(', ')], ['Watched by', a.Watchers || ''], ['Topics', (d.Topics || []).map(t => `${t.Pattern} (${t.Type})${t.Group ? ' in ' + t.Group : ''}`).join('; ')]]),
    c.operate && el('p', {}, button('Stop behind what waits', stop(false), 'danger'), ' ', button('Stop at once', stop(true), 'danger')), el('h2', {}, 'Latest requests'), table('Requests', requestColumns, r.Requests))
  } }) },

  requests: { title: 'Requests', key: 'r', make: c => ({ async again() { await this.draw(true) }, async draw(again) {
    const q = { Target: c.params.target || '', Type: c.params.type || '', Unusual: c.params.only !== 'all', Slower: Math.round(1e6 * (c.params.slower || 0)), Limit: 100 }
    const all = rows(c, await where(c, 'Requests', q), 'Requests').sort((a, b) => (a.Last < b.Last ? 1 : -1)), list = el('div', { id: 'list' }, table('Requests', requestColumns, all.slice(0, 200), 'None: nothing unusual has happened lately.'))
    if (again && document.getElementById('list')) return document.getElementById('list').replaceWith(list)
    const id = el('input', { name: 'id', size: 40, placeholder: 'request id, key, token or trace id' })
    put(c.at, el('h1', {}, 'Requests'), el('form', { class: 'bar', onsubmit: e => { e.preventDefault(); location.hash = '#/why?id=' + encodeURIComponent(id.value.trim()) } }, el('label', {}, 'What became of', id), el('button', {}, 'Why?')),
      form(c, [['only', 'Which', [['', 'copies, replays, errors, slow ones'], ['all', 'all that are remembered']]], ['node', 'Node', nodesOf(c)], ['target', 'Actor begins with'], ['type', 'Message'], ['slower', 'Took at least, ms']]), list)
  } }) },

  why: { of: 'requests', make: c => ({ async draw() {
    const life = await c.ask('', 'Why', { ID: c.params.id, Whole: true })
    put(c.at, el('h1', {}, 'Request ' + c.params.id), (life.Unasked || []).map(u => el('p', { class: 'warn' }, u.Node + ' may know more: ' + u.Reason)), life.Steps?.length ? falls(life) : el('p', {}, 'No node remembers anything of it. What was usual is forgotten first.'), life.More && el('p', { class: 'warn' }, 'There are more steps.'))
  } }) },

  queues: { title: 'Queues', key: 'q', make: c => ({ live: p => put(c.at, el('h1', {}, 'Queues'), alerts(p, 'queues'), table('Queues', queueColumns, p.Queues)) }) },

  queue: { of: 'queues', make: c => ({ async draw() {
    const { name, node: at } = c.params, dead = c.params.which !== 'waiting', content = c.params.content === 'yes'
    const { Items: items } = await c.ask(at, 'QueueItems', { Queue: name, Dead: dead, Limit: 200, Content: content })
    const act = (what, tokens) => async () => { if (tokens?.length === 0 || (what !== 'resume' && !sure(`${what} ${tokens ? tokens.length + ' items of ' : ''}${name}@${at}?`))) return
      try { const done = await c.ask(at, 'ManageQueue', { Queue: name, Do: what, Tokens: tokens }); await this.draw(); c.say(`${what}: ${done.Count} items` + (done.Failed?.length ? ', failed: ' + done.Failed.join('; ') : '')) } catch (e) { c.say(e.message, 'bad') } }
    const tokens = () => (items || []).map(i => i.Token)
    put(c.at, el('h1', {}, `Queue ${name}@${at}`), form(c, [['name', 'Queue'], ['node', 'Node', nodesOf(c).slice(1)], ['which', 'Items', [['', 'dead'], ['waiting', 'waiting']]], ...(c.operate ? [['content', 'Content', [['', 'hidden'], ['yes', 'shown']]]] : [])]),
      c.operate && el('p', {}, button('Pause', act('pause')), ' ', button('Resume', act('resume')), ' ', button('Purge what waits', act('purge'), 'danger'), ' ', dead ? [button('Revive all that are shown', act('revive', tokens())), ' ', button('Discard all that are shown', act('discard', tokens()), 'danger')] : button('Cancel all that are shown', act('cancel', tokens()), 'danger')),
      table('Items', [['Id', i => i.ID], ['Attempts', i => i.Attempts, 'num'], ['Age', i => span(i.Age), 'num'], ['Due in', i => span(i.Due), 'num'], ['Reason', i => i.Reason], ...(content ? [['Content', i => JSON.stringify(i.Content), 'wrap']] : []),
        ...(c.operate ? [['', i => (dead ? [button('Revive', act('revive', [i.Token])), ' ', button('Discard', act('discard', [i.Token]), 'danger')] : button('Cancel', act('cancel', [i.Token]), 'danger'))]] : [])], items, dead ? 'No item is dead.' : 'No item waits.'))
  } }) },

  jobs: { title: 'Jobs', key: 'j', make: c => ({ async again() { await this.draw() }, async draw() {
    const all = rows(c, await where(c, 'Jobs', { Limit: 200 }), 'Jobs')
    put(c.at, el('h1', {}, 'Jobs'), table('Jobs', [['Job', j => j.ID + '…'], ['Node', j => node(j.Node)], ['Actor', j => actorLink(j.Actor, j.Node)], ['Type', j => j.Type], ['For', j => j.Principal], ['State', j => j.State], ['Done', j => (j.Total ? `${many(j.Done)} of ${many(j.Total)}` : '')], ['Durable', j => (j.Durable ? 'yes' : '')], ['Error', j => j.Error, 'wrap']], all))
  } }) },

  letters: { title: 'Dead letters', key: 'd', make: c => ({ async draw() {
    const f = { Actor: c.params.actor || '', Type: c.params.type || '', Code: c.params.code || '' }
    const answers = await where(c, 'Letters', { ...f, NewestFirst: true, Limit: 200 }), all = rows(c, answers, 'Letters').sort((a, b) => (a.Time < b.Time ? 1 : -1))
    const each = (message, what, body) => async () => { const at = answers.filter(a => a.Reply?.Letters?.length).map(a => a.Node); if (at.length === 0 || !sure(`${what} all that match, at ${at.join(', ')}?`)) return
      const said = []; for (const n of at) try { const r = await c.ask(n, message, body); said.push(`${n}: ${r.Sent ?? r.Count}` + (r.Failed?.length ? `, ${r.Failed.length} failed: ${r.Failed[0].Error}` : '') + (r.More ? ', there are more' : '')) } catch (e) { said.push(n + ': ' + e.message) }
      await this.draw(); c.say(said.join('; ')) }
    const one = (l, message) => async () => { try { const r = await c.ask(l.Node, message, { ID: l.ID }); await this.draw(); c.say(r.Failed?.length ? r.Failed[0].Error : 'done', r.Failed?.length ? 'bad' : '') } catch (e) { c.say(e.message, 'bad') } }
    put(c.at, el('h1', {}, 'Dead letters'), form(c, [['node', 'Node', nodesOf(c)], ['actor', 'To'], ['type', 'Message'], ['code', 'Code']]),
      c.operate && el('p', {}, button('Send all that match again', each('ResendLetters', 'Send again', f)), ' ', button('Discard all that match', each('DiscardLetters', 'Discard', f), 'danger')),
      table('Dead letters', [['Time', l => clock(l.Time)], ['Node', l => node(l.Node)], ['To', l => l.To], ['From', l => l.From], ['Message', l => l.Type], ['Reason', l => l.Reason, 'wrap'], ['State', l => l.State], ...(c.operate ? [['', l => [button('Send again', one(l, 'ResendLetters')), ' ', button('Discard', one(l, 'DiscardLetters'), 'danger')]]] : [])], all, 'None is kept.'))
  } }) },

  topics: { title: 'Topics', key: 'p', make: c => ({ async draw() {
    const all = rows(c, await where(c, 'Topics', { Limit: 500 }), 'Topics')
    put(c.at, el('h1', {}, 'Topics'), table('Topics', [['Pattern', t => t.Pattern], ['Group', t => t.Group], ['Message', t => t.Type], ['Node', t => node(t.Node)], ['Subscribers', t => many(t.Subscribers), 'num']], all, 'Nobody has subscribed.'))
  } }) },

  events: { title: 'Events', key: 'e', make: c => ({ live: p => put(c.at, el('h1', {}, 'Events'), table('Events', eventColumns, p.Events)) }) },

  settings: { title: 'Settings', key: 'x', make: c => ({ async draw() {
    const answers = await c.all('Settings'), all = rows(c, answers.filter(a => a.Error || a.Reply.Watched), 'Sections'), away = answers.filter(a => a.Reply?.Away), plain = answers.filter(a => a.Reply && !a.Reply.Watched)
    const level = el('select', {}, ['DEBUG', 'INFO', 'WARN', 'ERROR'].map(l => el('option', { value: l }, l))), at = el('select', {}, nodesOf(c).slice(1).map(([v]) => el('option', { value: v }, v)))
    put(c.at, el('h1', {}, 'Settings'), away.map(a => el('p', { class: 'bad' }, `${a.Node} cannot read them: ${a.Reply.Away}`)), plain.length > 0 && el('p', { class: 'dim' }, 'Not watched at ' + plain.map(a => a.Node).join(', ')),
      table('Settings', [['Key', s => s.Key], ['Node', s => node(s.Node)], ['Revision', s => s.Revision, 'num'], ['By', s => s.Author], ['Note', s => s.Note, 'wrap'], ['Value', s => JSON.stringify(s.Value), 'wrap'], ['In force', s => (s.InForce ? 'yes' : 'no')], ['Refused', s => s.Refused, 'wrap']], all),
      c.operate && el('form', { class: 'bar', onsubmit: async e => { e.preventDefault(); try { await c.ask(at.value, 'SetLevel', { Level: level.value }); c.say(`${at.value} logs from ${level.value} on`) } catch (err) { c.say(err.message, 'bad') } } }, el('label', {}, 'Log of', at), el('label', {}, 'Level', level), el('button', {}, 'Set')))
  } }) }
}
