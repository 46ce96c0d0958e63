//! What people see while the work goes on, all on stderr.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::arguments::{ColorChoice, GlobalArguments};
use super::text::escape;
use crate::error::Error;
use crate::progress::Progress;

/// stderr, as the flags want it.
pub struct Terminal {
    /// −2: errors only, −1: warnings, 0: progress and notes, 1 and up: more.
    verbosity: i8,
    color: bool,
    interactive: bool,
    stage: Mutex<Option<Stage>>,
}

struct Stage {
    name: String,
    steps: usize,
    done: usize,
    start: Instant,
    /// `None` where stderr is no terminal.
    bar: Option<ProgressBar>,
}

impl Terminal {
    pub fn new(arguments: &GlobalArguments) -> Self {
        let level = i16::from(arguments.verbose) - i16::from(arguments.quiet);
        Terminal {
            verbosity: level.clamp(-2, 2) as i8,
            color: use_color(arguments.color),
            interactive: std::io::stderr().is_terminal() && !is_dumb(),
            stage: Mutex::new(None),
        }
    }

    /// Prints an error with its code.
    pub fn error(&self, error: &Error) {
        self.line(&format!("{} {}", self.paint("31;1", &format!("error[{}]:", error.code())), escape(&error.to_string())));
    }

    fn paint(&self, style: &str, text: &str) -> String {
        if self.color { format!("\u{1b}[{style}m{text}\u{1b}[0m") } else { text.to_string() }
    }

    /// Prints a line above the bar.
    fn line(&self, text: &str) {
        let bar = self.with_stage(|stage| stage.as_ref().and_then(|stage| stage.bar.clone()));
        match bar {
            Some(bar) => bar.suspend(|| print_line(text)),
            None => print_line(text),
        }
    }

    fn with_stage<R>(&self, work: impl FnOnce(&mut Option<Stage>) -> R) -> R {
        work(&mut self.stage.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Prints a line to stderr; one that nobody reads is lost.
pub fn print_line(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

impl Progress for Terminal {
    fn begin(&self, stage: &str, steps: usize) {
        self.end();
        if self.verbosity < 0 {
            return;
        }
        let bar = self.interactive.then(|| new_bar(stage, steps));
        if bar.is_none() && self.verbosity > 0 {
            print_line(&escape(stage));
        }
        self.with_stage(|current| *current = Some(Stage { name: escape(stage), steps, done: 0, start: Instant::now(), bar }));
    }

    fn step(&self, detail: &str) {
        let line = self.with_stage(|current| current.as_mut().and_then(|stage| stage.step(&escape(detail))));
        if let Some(line) = line {
            print_line(&line);
        }
    }

    fn end(&self) {
        if let Some(bar) = self.with_stage(Option::take).and_then(|stage| stage.bar) {
            bar.finish_and_clear();
        }
    }

    fn warn(&self, message: &str) {
        if self.verbosity >= -1 {
            self.line(&format!("{} {}", self.paint("33;1", "warning:"), escape(message)));
        }
    }

    fn note(&self, message: &str) {
        if self.verbosity >= 0 {
            self.line(&format!("{} {}", self.paint("36;1", "note:"), escape(message)));
        }
    }
}

impl Stage {
    /// Counts one step; gives a line to print at every tenth of the way where there is no bar.
    fn step(&mut self, detail: &str) -> Option<String> {
        self.done += 1;
        if let Some(bar) = &self.bar {
            bar.set_message(detail.to_string());
            bar.inc(1);
            return None;
        }
        let tenths = |done: usize| (done * 10).checked_div(self.steps).unwrap_or(0);
        if tenths(self.done) == tenths(self.done - 1) {
            return None;
        }
        let left = remaining(self.start.elapsed(), self.done, self.steps);
        let detail = if detail.is_empty() { String::new() } else { format!(", {detail}") };
        Some(format!("{}: {} % ({} of {}){detail}{}", self.name, tenths(self.done) * 10, self.done, self.steps, time_left(left)))
    }
}

/// How long the rest takes if it goes on as it went.
fn remaining(elapsed: Duration, done: usize, steps: usize) -> Duration {
    elapsed.mul_f64(steps.saturating_sub(done) as f64 / done.max(1) as f64)
}

fn time_left(left: Duration) -> String {
    match left.as_secs() {
        0 => String::new(),
        seconds @ 1..=119 => format!(", {seconds} s left"),
        seconds => format!(", {} min left", seconds.div_ceil(60)),
    }
}

fn new_bar(stage: &str, steps: usize) -> ProgressBar {
    let (length, template) = match steps {
        0 => (None, "{prefix} {spinner} {elapsed} {msg}"),
        steps => (Some(steps as u64), "{prefix} {wide_bar} {pos}/{len}  {msg}  {eta} left"),
    };
    let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_prefix(escape(stage));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn use_color(choice: ColorChoice) -> bool {
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => {
            wished_color(&|name| std::env::var(name).ok()).unwrap_or_else(|| std::io::stderr().is_terminal() && !is_dumb())
        }
    }
}

/// What the environment wishes: NO_COLOR (no-color.org), and CLICOLOR_FORCE and CLICOLOR (bixense.com/clicolors), which only
/// `0` turns off.
fn wished_color(variable: &dyn Fn(&str) -> Option<String>) -> Option<bool> {
    let set = |name: &str| variable(name).filter(|value| !value.is_empty());
    if set("NO_COLOR").is_some() {
        return Some(false);
    }
    if set("CLICOLOR_FORCE").is_some_and(|value| value != "0") {
        return Some(true);
    }
    (set("CLICOLOR").as_deref() == Some("0")).then_some(false)
}

/// A terminal that cannot draw over what it has drawn.
fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_terminal_every_tenth_is_one_line() {
        for (steps, lines) in [(1000, 10), (10, 10), (3, 3), (0, 0)] {
            let mut stage = Stage { name: "synthesize".into(), steps, done: 0, start: Instant::now(), bar: None };
            let printed: Vec<String> = (0..steps).filter_map(|_| stage.step("loss 0.1")).collect();
            assert_eq!(printed.len(), lines, "{steps}");
            if let Some(last) = printed.last() {
                assert_eq!(*last, format!("synthesize: 100 % ({steps} of {steps}), loss 0.1"));
            }
        }
    }

    #[test]
    fn the_time_left_is_told_in_words() {
        let after = |seconds: u64, done: usize, steps: usize| time_left(remaining(Duration::from_secs(seconds), done, steps));
        assert_eq!(after(10, 1, 10), ", 90 s left");
        assert_eq!(after(10, 5, 10), ", 10 s left");
        assert_eq!(after(600, 300, 360), ", 2 min left");
        assert_eq!(after(10, 10, 10), "");
        assert_eq!(after(10, 0, 0), "");
    }

    #[test]
    fn the_environment_decides_on_color_where_no_flag_does() {
        let wish =
            |set: &[(&str, &str)]| wished_color(&|name| set.iter().find(|(other, _)| *other == name).map(|(_, value)| value.to_string()));
        for (set, expected) in [
            (&[][..], None),
            (&[("NO_COLOR", "")], None),
            (&[("NO_COLOR", "1")], Some(false)),
            (&[("NO_COLOR", "0"), ("CLICOLOR_FORCE", "1")], Some(false)),
            (&[("CLICOLOR_FORCE", "1"), ("CLICOLOR", "0")], Some(true)),
            (&[("CLICOLOR_FORCE", "0")], None),
            (&[("CLICOLOR", "0")], Some(false)),
            (&[("CLICOLOR", "1")], None),
        ] {
            assert_eq!(wish(set), expected, "{set:?}");
        }
    }
}
