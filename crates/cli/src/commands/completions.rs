//! `nuncio completions`

use clap::Args;
use clap_complete::Shell;

use crate::failure::Failure;
use crate::output;

/// Prints a completion script.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  nuncio completions bash > ~/.local/share/bash-completion/completions/nuncio\n  nuncio completions fish > ~/.config/fish/completions/nuncio.fish"
)]
pub(crate) struct Completions {
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut crate::cli::grammar(), "nuncio", &mut script);
        output::raw(&script)
    }
}
