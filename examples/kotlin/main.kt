// A gateway in a Kotlin program: it starts an MCP server, finds and calls its tool, hears of changes, and picks a server itself.
// The arguments are the command of the server. Documents go in and come out as JSON, for which a real program has a library.
import io.github.mcp_registry_gateway.Gateway
import io.github.mcp_registry_gateway.GatewayException
import io.github.mcp_registry_gateway.Listener
import kotlinx.coroutines.runBlocking

/** A text as JSON. */
fun quoted(text: String) = "\"" + text.replace("\\", "\\\\").replace("\"", "\\\"") + "\""

fun main(command: Array<String>) = runBlocking {
    // In memory; {"url": "sqlite:gateway.db"} keeps what is registered.
    val gateway = Gateway.open("{}")
    val watching = gateway.watch(object : Listener {
        override fun changed(document: String) = println("heard $document")
    })

    val arguments = command.drop(1).joinToString(",") { quoted(it) }
    gateway.register("""{"name": "numbers", "command": ${quoted(command.first())}, "args": [$arguments]}""")
    // Asks it now what it offers; by itself the gateway does so in the background.
    gateway.discover("""{"server": "numbers"}""")
    println("who has the tool: " + gateway.find("""{"tools": ["double"]}"""))

    val result = gateway.callTool("""{"name": "numbers__double", "arguments": {"n": 21}}""")
    println("double(21) = " + Regex("\"text\": ?\"(\\d+)\"").find(result)?.groupValues?.get(1))

    // For a program that talks to the server itself: which one of the service can take a call now.
    gateway.pick("numbers", null).use { lease ->
        println("picked ${lease.name()}")
        lease.succeeded()
    }

    try {
        gateway.callTool("""{"name": "numbers__halve"}""")
    } catch (refused: GatewayException.Failed) {
        println("refused: ${refused.kind}, ${refused.reason}")
    }

    watching.end()
    gateway.shutdown()
    println("closed")
}
