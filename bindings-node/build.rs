//! Tells the linker what an addon of node needs.

fn main() {
    napi_build::setup();
}
