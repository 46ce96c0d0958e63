//! `zeroq completions`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use serde_json::json;

use super::output::{print, print_json};
use super::{Arguments, Context, Outcome, work};
use crate::error::{Error, Result};
use crate::evaluation::SCHEMA;

const EXAMPLES: &str = "\
Examples:
  zeroq completions bash > ~/.local/share/bash-completion/completions/zeroq
  zeroq completions zsh > ~/.zfunc/_zeroq
  zeroq completions fish > ~/.config/fish/completions/zeroq.fish
  zeroq completions powershell >> $PROFILE";

/// Print what completes commands and flags in a shell
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct CompletionsArguments {
    #[arg(value_name = "SHELL", help = "The shell")]
    pub shell: Shell,
}

pub fn run(arguments: &CompletionsArguments, context: &Context) -> Result<Outcome> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Arguments::command(), "zeroq", &mut script);
    let script = String::from_utf8(script).map_err(|error| Error::Internal(error.to_string()))?;
    if context.json {
        let shell = arguments.shell.to_string();
        print_json(&json!({ "schema": SCHEMA, "command": "completions", "version": work::VERSION, "shell": shell, "script": script }))?;
    } else {
        print(&script)?;
    }
    Ok(Outcome::Done)
}
