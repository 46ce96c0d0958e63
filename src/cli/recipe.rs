//! Recipes: files of flags, one per line, that say how images are made.

use std::path::Path;

use clap::Parser;

use super::arguments::ImageArguments;
use crate::error::{Error, Result};

/// The recipes that come with the program; the first is what is done where none is named.
pub const RECIPES: [(&str, &str); 9] = [
    ("default", include_str!("../../calibration/default.recipe")),
    ("pixels", include_str!("../../calibration/pixels.recipe")),
    ("genie", include_str!("../../calibration/genie.recipe")),
    ("gaussian", include_str!("../../calibration/gaussian.recipe")),
    ("inception", include_str!("../../calibration/inception.recipe")),
    ("bns-inception", include_str!("../../calibration/bns-inception.recipe")),
    ("zeroq", include_str!("../../calibration/zeroq.recipe")),
    ("deep-inversion", include_str!("../../calibration/deep-inversion.recipe")),
    ("dead-leaves", include_str!("../../calibration/dead-leaves.recipe")),
];

/// Bytes of the longest recipe that is read.
const LONGEST: u64 = 1 << 20;

/// What a recipe may say.
#[derive(Parser, Debug)]
#[command(name = "recipe", no_binary_name = true, disable_help_flag = true)]
struct Lines {
    #[command(flatten)]
    images: ImageArguments,
}

/// What `--recipe` is told at the end of the help.
pub fn listing() -> String {
    let first = |text: &str| text.lines().next().unwrap_or_default().trim_start_matches('#').trim().to_string();
    let lines = RECIPES.iter().map(|(name, text)| format!("\n  {name:<15} {}", first(text)));
    format!("Recipes:{}", lines.collect::<String>())
}

/// Fills what `images` leaves open from the recipe it names. The result knows the recipe's name for provenance: marked
/// where flags beside it changed how images are made.
///
/// # Errors
/// If there is no such recipe, or it says what no recipe may.
pub fn complete(images: &ImageArguments) -> Result<(ImageArguments, String)> {
    let asked = images.recipe.as_deref().unwrap_or(RECIPES[0].0);
    let (name, text) = read(asked)?;
    let recipe = parse(&name, &text)?.with_range()?;
    let completed = images.clone().with_range()?.or(&recipe);
    let changed = completed.method != recipe.method;
    Ok((completed, if changed { format!("{name}, changed") } else { name }))
}

/// # Errors
/// If `text` is no recipe.
pub fn check(text: &str) -> Result<()> {
    parse("recipe", text).and_then(|images| images.method.method(String::new())).map(drop)
}

/// Name and text of a built-in recipe or of a file.
fn read(asked: &str) -> Result<(String, String)> {
    if let Some((name, text)) = RECIPES.iter().find(|(name, _)| *name == asked) {
        return Ok((name.to_string(), text.to_string()));
    }
    let path = Path::new(asked);
    let neither = |error: std::io::Error| {
        let names: Vec<&str> = RECIPES.iter().map(|(name, _)| *name).collect();
        Error::Usage(format!("--recipe {asked}: neither a file ({error}) nor one of {}", names.join(", ")))
    };
    let metadata = std::fs::metadata(path).map_err(neither)?;
    if !metadata.is_file() || metadata.len() > LONGEST {
        return Err(Error::file(path, "is not a regular file of at most 1 MiB, as recipes are"));
    }
    let text = std::fs::read_to_string(path).map_err(neither)?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok((name, text))
}

fn parse(name: &str, text: &str) -> Result<ImageArguments> {
    let lines = text.lines().map(|line| line.split_once('#').map_or(line, |(flags, _)| flags).trim());
    let wrong = |reason: String| Error::Usage(format!("recipe `{name}`: {reason}"));
    let first_line = |error: clap::Error| {
        let text = error.to_string();
        text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_string()
    };
    for (index, line) in lines.clone().enumerate() {
        Lines::try_parse_from(flags_of(line)).map_err(|error| wrong(format!("line {}: {}", index + 1, first_line(error))))?;
    }
    let parsed = Lines::try_parse_from(lines.flat_map(flags_of)).map_err(|error| wrong(first_line(error)))?;
    if parsed.images.recipe.is_some() {
        return Err(wrong("a recipe cannot name another".to_string()));
    }
    if parsed.images.stats_from.is_some() {
        return Err(wrong("--stats-from goes with a model, not with a recipe".to_string()));
    }
    Ok(parsed.images)
}

/// A flag and its value.
fn flags_of(line: &str) -> impl Iterator<Item = &str> {
    line.splitn(2, char::is_whitespace).map(str::trim).filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execution;
    use crate::onnx;
    use crate::passes::simplify;
    use crate::progress::Silent;
    use crate::synthesis::method::Method;
    use crate::synthesis::{self, synthesize};

    fn named(name: &str) -> ImageArguments {
        ImageArguments { recipe: Some(name.to_string()), ..ImageArguments::default() }
    }

    #[test]
    fn names_are_unique_kebab_case_and_files_say_what_they_are() {
        for (index, (name, text)) in RECIPES.iter().enumerate() {
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{name}");
            assert!(RECIPES[..index].iter().all(|(other, _)| other != name), "{name}");
            assert!(text.starts_with("# ") && text.lines().next().unwrap().len() > 20, "{name}");
            assert!(listing().contains(name));
        }
    }

    #[test]
    fn every_file_in_the_folder_is_listed() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("calibration");
        let found = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let recipes: Vec<_> = found.filter(|path| path.extension().is_some_and(|extension| extension == "recipe")).collect();
        assert_eq!(recipes.len(), RECIPES.len());
    }

    #[test]
    fn every_recipe_makes_images() {
        for model in ["digits_resnet", "digits_mobilenet", "digits_squeezenet"] {
            let path = format!("{}/models/{model}.onnx", env!("CARGO_MANIFEST_DIR"));
            let mut graph = onnx::load(Path::new(&path), &onnx::Limits::default()).unwrap().graph;
            simplify(&mut graph).unwrap();
            for (name, _) in RECIPES {
                let (images, recipe) = complete(&named(name)).unwrap();
                let config = synthesis::Config {
                    samples: 4,
                    batch: 3,
                    steps: 2,
                    sufficient: None,
                    seed: 0,
                    input_range: "-1,1".parse().unwrap(),
                    method: images.method.method(recipe).unwrap(),
                    execution: execution::Config::default(),
                };
                let made = synthesize(&graph, &config, &Silent).unwrap_or_else(|error| panic!("{name} on {model}: {error}"));
                let (low, high) = made.set.inputs[0].range().unwrap();
                assert!(-1.0 <= low && high <= 1.0, "{name} on {model}");
                assert_eq!(made.set.provenance.recipe.as_deref(), Some(name));
            }
        }
    }

    #[test]
    fn the_default_recipe_is_the_default_method() {
        let (images, recipe) = complete(&ImageArguments::default()).unwrap();
        assert_eq!(format!("{:?}", images.method.method(recipe).unwrap()), format!("{:?}", Method::default()));
    }

    #[test]
    fn flags_beside_a_recipe_win_and_show() {
        let mut images = named("zeroq");
        images.steps = Some(3);
        assert_eq!(complete(&images).map(|(images, name)| (images.steps, name)).unwrap(), (Some(3), "zeroq".to_string()));
        images.method.rate = Some(0.5);
        let (completed, name) = complete(&images).unwrap();
        assert_eq!((completed.method.rate, name.as_str()), (Some(0.5), "zeroq, changed"));
    }

    #[test]
    fn what_a_recipe_may_not_say_is_named() {
        for (text, says) in [
            ("--colour red", "--colour"),
            ("--steps few", "few"),
            ("--recipe genie", "another"),
            ("--stats-from m.onnx", "--stats-from"),
            ("steps", "steps"),
        ] {
            let error = parse("mine", text).unwrap_err().to_string();
            assert!(error.starts_with("recipe `mine`: ") && error.contains(says), "{error}");
        }
        assert!(complete(&named("no such file")).unwrap_err().to_string().contains("dead-leaves"));
    }
}
