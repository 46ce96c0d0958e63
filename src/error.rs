//! What can go wrong, said so that the reader knows the file, the node and the next step.

mod explanations;

use std::path::{Path, PathBuf};

pub use explanations::{EXPLANATIONS, Explanation};

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Kinds of failure. Every kind has a stable code; messages are lower case without a full stop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("{}: {reason}", path.display())]
    File { path: PathBuf, reason: String },
    /// The file is not a well-formed ONNX model.
    #[error("invalid model: {0}")]
    InvalidModel(String),
    /// A node is malformed or asks for something impossible.
    #[error("node `{node}` ({operator}): {reason}")]
    Node { node: String, operator: String, reason: String },
    /// A tensor is malformed.
    #[error("tensor `{tensor}`: {reason}")]
    Tensor { tensor: String, reason: String },
    /// The model needs things that are not supported; all of them at once.
    #[error("not supported:\n  {}", .0.join("\n  "))]
    Unsupported(Vec<String>),
    /// The request itself is wrong (a flag, a shape, a pattern).
    #[error("{0}")]
    Usage(String),
    /// The calibration data does not fit the model.
    #[error("calibration data: {0}")]
    Data(String),
    /// Another runtime refused or failed.
    #[error("{engine}: {reason}")]
    Engine { engine: String, reason: String },
    /// The work does not fit into memory.
    #[error(
        "not enough memory for {what}: {} MB are needed beside the {} MB in use, but only {} MB are allowed or there; --max-memory allows more, \
         fewer --threads or smaller inputs need less",
        needed.div_ceil(1_000_000), taken / 1_000_000, limit / 1_000_000
    )]
    Memory { what: String, needed: u64, taken: u64, limit: u64 },
    /// The user or the system asked us to stop.
    #[error("interrupted")]
    Interrupted,
    /// An invariant of zeroq itself does not hold; always a bug worth reporting.
    #[error("internal error: {0}; please report this with the model's `zeroq inspect --json`")]
    Internal(String),
}

impl Error {
    /// Stable code of the kind, for scripts and documentation.
    pub fn code(&self) -> &'static str {
        match self {
            Error::File { .. } => "E0101",
            Error::InvalidModel(_) => "E0201",
            Error::Node { .. } => "E0202",
            Error::Tensor { .. } => "E0203",
            Error::Unsupported(_) => "E0301",
            Error::Usage(_) => "E0401",
            Error::Data(_) => "E0501",
            Error::Engine { .. } => "E0601",
            Error::Interrupted => "E0701",
            Error::Memory { .. } => "E0801",
            Error::Internal(_) => "E0901",
        }
    }

    pub fn file(path: impl AsRef<Path>, reason: impl std::fmt::Display) -> Self {
        Error::File { path: path.as_ref().to_path_buf(), reason: reason.to_string() }
    }

    pub fn tensor(tensor: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Error::Tensor { tensor: tensor.into(), reason: reason.to_string() }
    }

    pub fn node(node: impl Into<String>, operator: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Error::Node { node: node.into(), operator: operator.into(), reason: reason.to_string() }
    }
}
