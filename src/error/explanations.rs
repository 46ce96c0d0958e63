//! What there is to say of each kind of failure, beyond the message.

/// One kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    pub code: &'static str,
    /// Markdown: a heading with code and title, what happened, typical causes, what to do, an example.
    pub text: &'static str,
}

impl Explanation {
    /// What the failure is, in one line.
    pub fn title(&self) -> &'static str {
        self.text.lines().next().and_then(|line| line.split_once(": ")).map_or("", |(_, title)| title)
    }
}

/// Of every code, in their order.
pub const EXPLANATIONS: [Explanation; 11] = [
    Explanation { code: "E0101", text: include_str!("explanations/E0101.md") },
    Explanation { code: "E0201", text: include_str!("explanations/E0201.md") },
    Explanation { code: "E0202", text: include_str!("explanations/E0202.md") },
    Explanation { code: "E0203", text: include_str!("explanations/E0203.md") },
    Explanation { code: "E0301", text: include_str!("explanations/E0301.md") },
    Explanation { code: "E0401", text: include_str!("explanations/E0401.md") },
    Explanation { code: "E0501", text: include_str!("explanations/E0501.md") },
    Explanation { code: "E0601", text: include_str!("explanations/E0601.md") },
    Explanation { code: "E0701", text: include_str!("explanations/E0701.md") },
    Explanation { code: "E0801", text: include_str!("explanations/E0801.md") },
    Explanation { code: "E0901", text: include_str!("explanations/E0901.md") },
];

#[cfg(test)]
mod tests {
    use super::super::Error;
    use super::*;

    /// One of each kind; a new one does not compile until it stands in both lists.
    fn kinds() -> Vec<Error> {
        let text = String::new;
        let all = vec![
            Error::file("m.onnx", "gone"),
            Error::InvalidModel(text()),
            Error::node("n", "Relu", "wrong"),
            Error::tensor("t", "wrong"),
            Error::Unsupported(Vec::new()),
            Error::Usage(text()),
            Error::Data(text()),
            Error::Engine { engine: text(), reason: text() },
            Error::Memory { what: text(), needed: 2, taken: 1, limit: 1 },
            Error::Interrupted,
            Error::Internal(text()),
        ];
        for error in &all {
            match error {
                Error::File { .. } | Error::InvalidModel(_) | Error::Node { .. } | Error::Tensor { .. } | Error::Unsupported(_) => {}
                Error::Usage(_)
                | Error::Data(_)
                | Error::Engine { .. }
                | Error::Memory { .. }
                | Error::Interrupted
                | Error::Internal(_) => {}
            }
        }
        all
    }

    #[test]
    fn every_kind_of_failure_is_explained_once_and_nothing_else_is() {
        let mut codes: Vec<&str> = kinds().iter().map(Error::code).collect();
        codes.sort_unstable();
        assert_eq!(EXPLANATIONS.map(|explanation| explanation.code).to_vec(), codes);
    }

    #[test]
    fn every_explanation_says_what_why_what_to_do_and_shows_it() {
        for Explanation { code, text } in EXPLANATIONS {
            assert!(text.starts_with(&format!("# {code}: ")), "{code}");
            let places: Vec<_> =
                ["## What happened", "## Typical causes", "## What to do", "## Example"].iter().map(|part| text.find(part)).collect();
            assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{code}: {places:?}");
            assert!(text.contains("    $ zeroq ") && text.len() > 600, "{code}");
        }
    }

    #[test]
    fn examples_show_messages_of_their_own_kind() {
        for Explanation { code, text } in EXPLANATIONS {
            let shown: Vec<&str> = text.split("error[").skip(1).filter_map(|rest| rest.split(']').next()).collect();
            assert!(!shown.is_empty() && shown.iter().all(|other| *other == code), "{code}: {shown:?}");
        }
    }
}
