//! `zeroq man`.

use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man;
use serde_json::{Map, Value, json};

use super::output::{check_output, print, print_json, write_file};
use super::{Arguments, Context, Outcome, work};
use crate::error::{Error, Result};
use crate::evaluation::SCHEMA;

const EXAMPLES: &str = "\
Examples:
  zeroq man | man -l -
  zeroq man quantize | man -l -
  zeroq man -o /usr/local/share/man/man1/";

/// Print the manual page of the program or of a command, or write all of them
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ManArguments {
    /// The command to print the page of [default: the program]
    #[arg(value_name = "COMMAND", conflicts_with = "output")]
    pub command: Option<String>,
    /// Write all pages into this folder, which is there: zeroq.1, zeroq-quantize.1 and so on
    #[arg(short, long, value_name = "FOLDER")]
    pub output: Option<PathBuf>,
    /// Replace pages that exist
    #[arg(short, long, requires = "output")]
    pub force: bool,
}

/// A manual page and its name, without the section.
struct Page {
    name: String,
    text: String,
}

pub fn run(arguments: &ManArguments, context: &Context) -> Result<Outcome> {
    let pages = pages()?;
    let chosen = match (&arguments.output, &arguments.command) {
        (Some(_), _) => pages,
        (None, command) => vec![find(pages, command.as_deref())?],
    };
    if let Some(folder) = &arguments.output {
        write(&chosen, folder, arguments.force)?;
    }
    if context.json {
        let texts: Map<String, Value> = chosen.into_iter().map(|page| (page.file(), Value::String(page.text))).collect();
        print_json(&json!({ "schema": SCHEMA, "command": "man", "version": work::VERSION, "pages": texts }))?;
    } else if arguments.output.is_none() {
        chosen.iter().try_for_each(|page| print(&page.text))?;
    }
    Ok(Outcome::Done)
}

impl Page {
    fn of(command: &Command) -> Result<Page> {
        let mut text = Vec::new();
        Man::new(command.clone()).render(&mut text).map_err(|error| Error::Internal(error.to_string()))?;
        let text = String::from_utf8(text).map_err(|error| Error::Internal(error.to_string()))?;
        Ok(Page { name: command.get_display_name().unwrap_or(command.get_name()).to_string(), text })
    }

    fn file(&self) -> String {
        format!("{}.1", self.name)
    }
}

/// That of the program first.
fn pages() -> Result<Vec<Page>> {
    let mut program = Arguments::command().disable_help_subcommand(true);
    program.build();
    std::iter::once(&program).chain(program.get_subcommands()).map(Page::of).collect()
}

fn find(mut pages: Vec<Page>, command: Option<&str>) -> Result<Page> {
    let program = pages.first().map(|page| page.name.clone()).unwrap_or_default();
    let wanted = command.map_or(program.clone(), |command| format!("{program}-{command}"));
    match pages.iter().position(|page| page.name == wanted) {
        Some(at) => Ok(pages.swap_remove(at)),
        None => {
            let names: Vec<&str> = pages.iter().filter_map(|page| page.name.strip_prefix(&format!("{program}-"))).collect();
            Err(Error::Usage(format!("there is no command `{}`; there are {}", command.unwrap_or_default(), names.join(", "))))
        }
    }
}

/// Nothing is written before all can be.
fn write(pages: &[Page], folder: &Path, force: bool) -> Result<()> {
    pages.iter().try_for_each(|page| check_output(&folder.join(page.file()), &[], force))?;
    pages.iter().try_for_each(|page| write_file(&folder.join(page.file()), page.text.as_bytes(), force))
}
