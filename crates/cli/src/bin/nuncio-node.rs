//! The `nuncio-node` binary: `nuncio node` alone.

fn main() -> std::process::ExitCode {
    nuncio_cli::node_main(std::env::args_os())
}
