//! `vigie completions`.

use std::io::Write as _;

use clap::{Args, CommandFactory as _};

use super::{Cli, Exit, Outcome};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  vigie completions bash > ~/.local/share/bash-completion/completions/vigie\n  \
                        vigie completions zsh > ~/.zfunc/_vigie\n  vigie completions fish > ~/.config/fish/completions/vigie.fish"
)]
pub(super) struct Completions {
    /// Which shell
    shell: clap_complete::Shell,
}

impl Completions {
    pub(super) fn run(&self) -> Outcome {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "vigie", &mut script);
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(&script)?;
        stdout.flush()?;
        Ok(Exit::Ok)
    }
}
