import { opened } from '../gateway.js'

export const dynamic = 'force-dynamic'

export default async function Page({ searchParams }) {
  const gateway = await opened
  const { a = '1', b = '2' } = await searchParams
  const [{ servers }, sum] = await Promise.all([
    gateway.list(),
    gateway.callTool('sums__add', { a: Number(a), b: Number(b) }),
  ])
  return (
    <main>
      <h1>Servers</h1>
      <ul>{servers.map((server) => <li key={server.id}>{server.name}: {server.health_status}</li>)}</ul>
      <form><input name="a" defaultValue={a} /> + <input name="b" defaultValue={b} /> <button>add</button></form>
      <output>{sum.content[0].text}</output>
    </main>
  )
}
