//! The program, run on one file in a folder of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use assert_cmd::Command;
use prost::Message;
use tempfile::TempDir;
use zeroq::onnx::messages::ModelProto;

/// The least work: these tests look at messages and files, not at accuracy.
const LITTLE: [&str; 10] = ["-n", "4", "--steps", "1", "--distill-steps", "1", "--no-check", "--objective", "integer", "-f"];
/// Nothing that is refused may take longer, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(30);
/// Address space of the program in KiB, where the system can limit it.
const MEMORY: u64 = 2 << 20;

pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// A folder with what a test puts there.
pub struct Place(TempDir);

impl Place {
    pub fn new() -> Self {
        Place(TempDir::new().unwrap())
    }

    /// With `bytes` as `m.onnx`.
    pub fn with(bytes: &[u8]) -> Self {
        let place = Place::new();
        place.write("m.onnx", bytes);
        place
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path().join(name), bytes).unwrap();
    }

    pub fn files(&self) -> BTreeMap<String, u64> {
        let entries = fs::read_dir(self.path()).unwrap().map(|entry| entry.unwrap());
        let size = |entry: &fs::DirEntry| entry.path().symlink_metadata().unwrap().len();
        entries.map(|entry| (entry.file_name().into_string().unwrap(), size(&entry))).collect()
    }

    pub fn run(&self, arguments: &[&str]) -> Run {
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -v {MEMORY} 2>/dev/null; exec \"$0\" --threads 2 \"$@\""), env!("CARGO_BIN_EXE_zeroq")]);
        let output = command.args(arguments).current_dir(self.path()).env("RUST_BACKTRACE", "0").timeout(PATIENCE).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Run { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// What is wrong with a run that must be refused in words that hold all of `says`.
    pub fn judge(&self, arguments: &[&str], says: &[&str]) -> Result<(), String> {
        let before = self.files();
        let Run { code, stdout, stderr } = self.run(arguments);
        let errors = stderr.lines().filter(|line| line.starts_with("error[E")).count();
        let missing = says.iter().find(|word| !stderr.contains(**word));
        let complaint = match missing {
            _ if code != Some(2) => format!("ended with {code:?}"),
            _ if !stdout.is_empty() => format!("printed {stdout}"),
            _ if errors != 1 || stderr.contains("panicked") || stderr.contains("E0901") => format!("has {errors} plain errors"),
            _ if self.files() != before => "left another folder".to_string(),
            Some(word) => format!("does not say {word}"),
            None => return Ok(()),
        };
        Err(format!("{} {complaint}: {}", arguments.join(" "), stderr.trim()))
    }

    pub fn refuses(&self, arguments: &[&str], says: &[&str]) {
        self.judge(arguments, says).unwrap_or_else(|complaint| panic!("{complaint}"));
    }
}

/// A file that must be refused, and words of the message.
pub struct Case {
    pub what: String,
    pub bytes: Vec<u8>,
    pub flags: Vec<&'static str>,
    pub says: Vec<&'static str>,
}

pub fn case(what: impl Into<String>, model: impl Into<File>, says: &[&'static str]) -> Case {
    Case { what: what.into(), bytes: model.into().0, flags: Vec::new(), says: says.to_vec() }
}

impl Case {
    pub fn flags(self, flags: &[&'static str]) -> Self {
        Case { flags: flags.to_vec(), ..self }
    }
}

/// The bytes of a model.
pub struct File(pub Vec<u8>);

impl From<ModelProto> for File {
    fn from(model: ModelProto) -> Self {
        File(model.encode_to_vec())
    }
}

impl From<Vec<u8>> for File {
    fn from(bytes: Vec<u8>) -> Self {
        File(bytes)
    }
}

/// The arguments that quantize `m.onnx` with little work.
pub fn quantize<'a>(flags: &[&'a str]) -> Vec<&'a str> {
    [&["quantize", "m.onnx", "-o", "q.onnx"][..], &LITTLE, flags].concat()
}

/// Every case is refused; all that are not are told of at once.
pub fn refused(cases: impl IntoIterator<Item = Case>) {
    let judge = |case: Case| {
        let judged = Place::with(&case.bytes).judge(&quantize(&case.flags), &case.says);
        judged.err().map(|complaint| format!("{}: {complaint}", case.what))
    };
    let complaints: Vec<String> = cases.into_iter().filter_map(judge).collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// What came of a file that is taken.
pub struct Taken {
    pub stdout: String,
    pub stderr: String,
    pub written: ModelProto,
}

/// The file is quantized, the original and the result run (in ONNX Runtime, where there is one), and stderr has all of `says`.
pub fn taken(model: impl Into<File>, flags: &[&str], says: &[&str]) -> Taken {
    let taken = written(model, flags, says);
    let engine = if std::env::var_os("ORT_DYLIB_PATH").is_some() { "1 samples in ONNX Runtime" } else { "1 samples in " };
    assert!(taken.stdout.contains(engine), "{}{}", taken.stdout, taken.stderr);
    taken
}

/// The file is quantized, and stderr has all of `says`.
pub fn written(model: impl Into<File>, flags: &[&str], says: &[&str]) -> Taken {
    let place = Place::with(&model.into().0);
    let Run { code, stdout, stderr } = place.run(&quantize(flags));
    assert_eq!(code, Some(0), "{stderr}");
    if let Some(missing) = says.iter().find(|word| !stderr.contains(**word)) {
        panic!("does not say {missing}: {stderr}");
    }
    let written = ModelProto::decode(&fs::read(place.path().join("q.onnx")).unwrap()[..]).unwrap();
    Taken { stdout, stderr, written }
}
