//! An upstream server of the field tests over stdio: `field-upstream SCRIPT LOG`.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, script, log] = arguments.as_slice() else {
        return Err(std::io::Error::other("usage: field-upstream SCRIPT LOG"));
    };
    mcp_registry_gateway_tests::field::serve(Path::new(script), Path::new(log))
}
