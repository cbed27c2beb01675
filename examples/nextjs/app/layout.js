export const metadata = { title: 'MCP Registry Gateway' }

export default function Layout({ children }) {
  return (
    <html lang="en">
      <body style={{ fontFamily: 'system-ui, sans-serif', margin: '2rem auto', maxWidth: '40rem' }}>{children}</body>
    </html>
  )
}
