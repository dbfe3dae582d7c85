//! The `nuncio` binary.

fn main() -> std::process::ExitCode {
    nuncio_cli::main(std::env::args_os())
}
