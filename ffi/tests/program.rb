# The UniFFI face in Ruby: open, register, list, find, pick, call, errors.
# Needs the gem `ffi`, and the library where the dynamic linker looks (LD_LIBRARY_PATH). `io/wait` is what the generated code forgets.
require 'io/wait'
require 'json'
require 'mcp_registry_gateway'

def must(what, found, expected)
  raise "#{what}: expected #{expected.inspect}, found #{found.inspect}" unless found == expected
end

fake = IO.popen([ENV.fetch('FAKE_MCP_SERVER'), '--http'])
begin
  url = fake.gets.strip
  gateway = McpRegistryGateway::Gateway.open('{}')
  perform = ->(verb, members) { JSON.parse(gateway.public_send(verb, JSON.generate(members))) }
  perform.call(:register, { name: 'one', endpoint_url: url, auto_discover: false })
  perform.call(:discover, { server: 'one' })
  must('list', perform.call(:list, {})['servers'].map { |server| server['name'] }, ['one'])
  must('find', perform.call(:find, { tools: ['echo'] })['servers'].map { |server| server['name'] }, ['one'])
  must('call', perform.call(:call_tool, { name: 'one__echo', arguments: { text: 'hi' } })['content'], [{ 'type' => 'text', 'text' => 'hi' }])
  lease = gateway.pick('one', nil)
  must('pick', lease.name, 'one')
  lease.succeeded
  begin
    perform.call(:get, { server: 'nobody' })
    raise 'an unknown server was shown'
  rescue McpRegistryGateway::GatewayError::Failed => error
    must('kind', error.kind, 'not_found')
  end
  gateway.shutdown
ensure
  Process.kill(:KILL, fake.pid)
  fake.close
end
