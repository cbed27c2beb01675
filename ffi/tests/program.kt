// The UniFFI face in Kotlin: open, register, list, find, pick, call, errors, events by callback.
// Needs JNA and kotlinx-coroutines on the class path, and the folder of the library as `jna.library.path`.
import io.github.mcp_registry_gateway.Gateway
import io.github.mcp_registry_gateway.GatewayException
import io.github.mcp_registry_gateway.Listener
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.channels.Channel
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout

fun must(what: String, found: String, part: String) = check(part in found) { "$what: expected $part in $found" }

fun main() {
    val fake = ProcessBuilder(System.getenv("FAKE_MCP_SERVER"), "--http").start()
    try {
        val url = fake.inputReader().readLine()
        runBlocking {
            val gateway = Gateway.open("{}")
            val heard = Channel<String>(Channel.UNLIMITED)
            val watching = gateway.watch(object : Listener {
                override fun changed(document: String) { heard.trySend(document) }
            })
            gateway.register("""{"name":"one","endpoint_url":"$url","auto_discover":false}""")
            must("event", withTimeout(10_000) { heard.receive() }, "server.registered")
            watching.end()
            gateway.discover("""{"server":"one"}""")
            must("list", gateway.list("{}"), "\"name\":\"one\"")
            must("find", gateway.find("""{"tools":["echo"]}"""), "\"name\":\"one\"")
            val calls = (1..20).map { async { gateway.callTool("""{"name":"one__echo","arguments":{"text":"hi $it"}}""") } }
            calls.awaitAll().forEachIndexed { at, said -> must("call", said, "hi ${at + 1}") }
            gateway.pick("one", null).use { lease ->
                must("pick", lease.name(), "one")
                lease.succeeded()
            }
            try {
                gateway.get("""{"server":"nobody"}""")
                error("an unknown server was shown")
            } catch (refused: GatewayException.Failed) {
                must("kind", refused.kind, "not_found")
            }
            gateway.shutdown()
        }
        println("it holds")
    } finally {
        fake.destroyForcibly()
    }
}
