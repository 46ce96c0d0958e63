//! How long each stage takes.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::curve::Curve;
use super::report::StageReport;
use crate::checkpoint::Unit;
use crate::progress::Progress;

/// Passes everything on to another listener and notes when stages begin and end.
pub struct Stopwatch<'a> {
    inner: &'a dyn Progress,
    start: Instant,
    record: Mutex<Record>,
}

#[derive(Default)]
struct Record {
    done: Vec<StageReport>,
    current: Option<(String, Instant, usize)>,
    curves: Vec<Curve>,
    /// Of the current stage.
    curve: Curve,
    warnings: Vec<String>,
}

impl<'a> Stopwatch<'a> {
    pub fn new(inner: &'a dyn Progress) -> Self {
        Stopwatch { inner, start: Instant::now(), record: Mutex::default() }
    }

    /// The stages that are over, in the order in which they began.
    pub fn stages(&self) -> Vec<StageReport> {
        self.with(|record| record.done.clone())
    }

    /// The losses of the stages that told some, in order.
    pub fn curves(&self) -> Vec<Curve> {
        self.with(|record| record.curves.clone())
    }

    /// Everything that was warned of.
    pub fn warnings(&self) -> Vec<String> {
        self.with(|record| record.warnings.clone())
    }

    /// Seconds since the beginning.
    pub fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    fn with<R>(&self, work: impl FnOnce(&mut Record) -> R) -> R {
        work(&mut self.record.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Record {
    fn close(&mut self) {
        let Some((name, start, steps)) = self.current.take() else { return };
        let seconds = start.elapsed().as_secs_f64();
        let mut curve = std::mem::take(&mut self.curve);
        curve.stage.clone_from(&name);
        self.curves.extend((!curve.is_empty()).then_some(curve));
        let steps_per_second = (seconds > 0.0 && steps > 0).then(|| steps as f64 / seconds);
        self.done.push(StageReport { name, seconds, steps, steps_per_second });
    }
}

impl Progress for Stopwatch<'_> {
    fn begin(&self, stage: &str, steps: usize) {
        self.with(|record| {
            record.close();
            record.current = Some((stage.to_string(), Instant::now(), 0));
        });
        self.inner.begin(stage, steps);
    }

    fn step(&self, detail: &str) {
        self.with(|record| {
            if let Some((_, _, steps)) = &mut record.current {
                *steps += 1;
            }
        });
        self.inner.step(detail);
    }

    fn loss(&self, loss: f64) {
        self.with(|record| record.curve.add(loss));
        self.inner.loss(loss);
    }

    fn end(&self) {
        self.with(Record::close);
        self.inner.end();
    }

    fn warn(&self, message: &str) {
        self.with(|record| record.warnings.push(message.to_string()));
        self.inner.warn(message);
    }

    fn note(&self, message: &str) {
        self.inner.note(message);
    }

    fn unit(&self) -> Unit<'_> {
        self.inner.unit()
    }

    fn interrupted(&self) -> bool {
        self.inner.interrupted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    #[test]
    fn counts_the_steps_of_every_stage_and_keeps_its_losses() {
        let watch = Stopwatch::new(&Silent);
        watch.begin("one", 2);
        watch.loss(0.5);
        watch.step("");
        watch.step("");
        watch.begin("two", 0);
        watch.end();
        watch.warn("careful");
        let stages: Vec<(String, usize)> = watch.stages().into_iter().map(|stage| (stage.name, stage.steps)).collect();
        assert_eq!(stages, [("one".to_string(), 2), ("two".to_string(), 0)]);
        let curves: Vec<(String, Vec<(usize, f64)>)> =
            watch.curves().into_iter().map(|curve| (curve.stage.clone(), curve.points())).collect();
        assert_eq!(curves, [("one".to_string(), vec![(0, 0.5)])]);
        assert_eq!(watch.warnings(), ["careful"]);
    }
}
