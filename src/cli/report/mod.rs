//! `--report`: what a quantization did, for scripts or as one page to look at.

mod chart;
mod distances;
mod evidence;
mod gallery;
mod page;

use std::path::Path;

use super::output::to_json;
use crate::error::{Error, Result};
use crate::evaluation::QuantizeReport;

pub use evidence::Evidence;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportForm {
    Json,
    Html,
}

impl ReportForm {
    /// What the name of `path` asks for.
    ///
    /// # Errors
    /// If it ends in neither.
    pub fn of(path: &Path) -> Result<Self> {
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        match ending.as_str() {
            "json" => Ok(ReportForm::Json),
            "html" => Ok(ReportForm::Html),
            _ => Err(Error::Usage(format!("--report {}: end the name in .html for a page to look at, or in .json", path.display()))),
        }
    }
}

/// The report as a file has it: a page where there is something to show on one.
///
/// # Errors
/// If it cannot be put into words.
pub fn render(report: &QuantizeReport, evidence: Option<&Evidence>) -> Result<String> {
    evidence.map_or_else(|| to_json(report), |evidence| page::page(report, evidence))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_decides_on_the_form_and_any_other_is_refused() {
        let form = |name: &str| ReportForm::of(Path::new(name));
        assert_eq!((form("a.json").unwrap(), form("b/c.HTML").unwrap()), (ReportForm::Json, ReportForm::Html));
        for name in ["a", "a.txt", "html", ".html", "a.html.gz"] {
            let message = form(name).unwrap_err().to_string();
            assert!(message.contains(".html") && message.contains(".json"), "{name}: {message}");
        }
    }
}
