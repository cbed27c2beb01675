import { gateway } from '../gateway.js'

export const dynamic = 'force-dynamic'

export default async function Page({ searchParams }) {
  const { a = '1', b = '2' } = await searchParams
  const opened = await gateway
  const { servers } = await opened.list()
  const sum = await opened.callTool('sums__add', { a: Number(a), b: Number(b) })
  return (
    <main>
      <h1>Servers</h1>
      <table>
        <thead><tr><th align="left">Name</th><th align="left">Health</th><th align="left">Tools</th></tr></thead>
        <tbody>
          {servers.map(({ id, name, healthStatus, capabilities }) => (
            <tr key={id} id={id}><td>{name}</td><td>{healthStatus}</td><td>{capabilities.tools.join(', ')}</td></tr>
          ))}
        </tbody>
      </table>
      <h2>Call a tool</h2>
      <form>
        <input name="a" type="number" aria-label="first number" defaultValue={a} /> +{' '}
        <input name="b" type="number" aria-label="second number" defaultValue={b} /> <button>add</button>
      </form>
      <p>sums__add says <output>{sum.content[0].text}</output></p>
    </main>
  )
}
