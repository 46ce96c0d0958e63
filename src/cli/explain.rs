//! `zeroq explain`.

use clap::Args;
use serde_json::json;

use super::output::{print, print_json};
use super::{Context, Outcome, work};
use crate::error::{EXPLANATIONS, Error, Explanation, Result};
use crate::evaluation::SCHEMA;

const EXAMPLES: &str = "\
Examples:
  zeroq explain
  zeroq explain E0301
  zeroq explain 301 --json";

/// Explain an error by its code: what happened, typical causes, what to do
///
/// Every error begins with its code, as in `error[E0301]: ...`, and with --json it is in `error.code`. Without a code, all are
/// listed.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ExplainArguments {
    /// The code, as in E0301
    #[arg(value_name = "CODE")]
    pub code: Option<String>,
}

pub fn run(arguments: &ExplainArguments, context: &Context) -> Result<Outcome> {
    let head = json!({ "schema": SCHEMA, "command": "explain", "version": work::VERSION });
    let (mut value, text) = match &arguments.code {
        Some(code) => explain(find(code)?),
        None => list(),
    };
    if context.json {
        merge(&mut value, head);
        print_json(&value)?;
    } else {
        print(&text)?;
    }
    Ok(Outcome::Done)
}

fn merge(value: &mut serde_json::Value, head: serde_json::Value) {
    if let (Some(value), serde_json::Value::Object(head)) = (value.as_object_mut(), head) {
        value.extend(head);
    }
}

fn explain(explanation: Explanation) -> (serde_json::Value, String) {
    let Explanation { code, text } = explanation;
    (json!({ "code": code, "title": explanation.title(), "text": text }), text.to_string())
}

fn list() -> (serde_json::Value, String) {
    let errors: Vec<_> = EXPLANATIONS.iter().map(|one| json!({ "code": one.code, "title": one.title() })).collect();
    let lines = EXPLANATIONS.iter().map(|one| format!("{}  {}\n", one.code, one.title()));
    (json!({ "errors": errors }), lines.collect())
}

/// `E0301`, `e301` or `301`, as it stands in a message or without what is around it.
fn find(asked: &str) -> Result<Explanation> {
    let number = |code: &str| code.trim_start_matches(['e', 'E']).parse::<u32>().ok();
    let bare = asked.trim().trim_start_matches("error").trim_matches(|c: char| "[]:".contains(c));
    let found = EXPLANATIONS.into_iter().find(|one| number(bare).is_some() && number(one.code) == number(bare));
    found.ok_or_else(|| {
        let all: Vec<String> = EXPLANATIONS.iter().map(|one| format!("{} ({})", one.code, one.title())).collect();
        Error::Usage(format!("there is no error `{asked}`; there are {}", all.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_found_as_people_write_them() {
        for asked in ["E0301", "e0301", "301", "E301", "error[E0301]:", " [E0301] "] {
            assert_eq!(find(asked).unwrap().code, "E0301", "{asked}");
        }
        for asked in ["", "E", "E0302", "301x", "-301", "E99999999999"] {
            let error = find(asked).unwrap_err().to_string();
            assert!(error.contains("E0101 (a file could not be read or written)") && error.contains("E0901"), "{error}");
        }
    }
}
