//! Batches that are shared out to devices, and taken in parts where one has too little memory.

use std::ops::Range;
use std::thread::{ScopedJoinHandle, scope};

use super::is_out_of_memory;
use crate::error::{Error, Result};
use crate::progress::Progress;

/// Lets each of `ranks` do `work` on its share of `items`, all at the same time. Shares are as even as can be and in order.
///
/// # Errors
/// That of the first rank that has one.
pub fn share_out<R: Send, T: Send>(ranks: &mut [R], items: &mut [T], work: impl Fn(&mut R, &mut [T]) -> Result<()> + Sync) -> Result<()> {
    if let [only] = ranks {
        return work(only, items);
    }
    let share = items.len().div_ceil(ranks.len().max(1)).max(1);
    let work = &work;
    scope(|scope| {
        let begin = |(rank, items)| scope.spawn(move || work(rank, items));
        let runs: Vec<ScopedJoinHandle<'_, Result<()>>> = ranks.iter_mut().zip(items.chunks_mut(share)).map(begin).collect();
        let ended: Vec<Result<()>> =
            runs.into_iter().map(|run| run.join().unwrap_or_else(|_| Err(Error::Internal("a device's thread ended".into())))).collect();
        ended.into_iter().collect()
    })
}

/// Does `work` on parts of `count` samples, `at_once` in each. Where the device has no memory for a part, half as many are taken
/// from then on, and the user is told.
///
/// # Errors
/// Those of `work`; too little memory only where it is for one sample.
pub fn in_parts(
    count: usize,
    at_once: &mut usize,
    progress: &dyn Progress,
    mut work: impl FnMut(Range<usize>) -> Result<()>,
) -> Result<()> {
    let mut done = 0;
    while done < count {
        let part = done..(done + (*at_once).max(1)).min(count);
        match work(part.clone()) {
            Ok(()) => done = part.end,
            Err(error) if is_out_of_memory(&error) && part.len() > 1 => {
                *at_once = part.len().div_ceil(2);
                progress.warn(&format!("the device has no memory for {} samples at once: {at_once} are taken", part.len()));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;
    use std::sync::Mutex;

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Progress for Heard {
        fn warn(&self, message: &str) {
            self.0.lock().unwrap().push(message.to_string());
        }
    }

    #[test]
    fn parts_are_halved_until_they_fit_and_the_user_is_told() {
        let (mut at_once, mut done, heard) = (12, Vec::new(), Heard::default());
        let full = || Error::Engine { engine: "cuda:0".into(), reason: "DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")".into() };
        let mut work = |part: Range<usize>| {
            if part.len() > 3 {
                return Err(full());
            }
            done.extend(part);
            Ok(())
        };
        in_parts(20, &mut at_once, &heard, &mut work).unwrap();
        assert_eq!((at_once, done), (3, (0..20).collect()));
        let warnings = heard.0.into_inner().unwrap();
        assert_eq!(warnings.len(), 2);
        assert!(warnings[1].contains("6 samples at once: 3 are taken"), "{warnings:?}");
        let error = in_parts(2, &mut at_once, &Silent, |_| Err(full())).unwrap_err();
        assert!(is_out_of_memory(&error) && at_once == 1);
        let failed = |_| Err(Error::Engine { engine: "cuda:0".into(), reason: "launch failed".into() });
        assert!(!is_out_of_memory(&in_parts(2, &mut 2, &Silent, failed).unwrap_err()));
    }

    #[test]
    fn every_rank_has_its_share_in_order() {
        let (mut ranks, mut items) = ([(0, 0), (1, 0), (2, 0)], vec![0; 7]);
        share_out(&mut ranks, &mut items, |rank, items| {
            items.iter_mut().for_each(|item| *item = rank.0);
            rank.1 = items.len();
            Ok(())
        })
        .unwrap();
        assert_eq!(items, [0, 0, 0, 1, 1, 1, 2]);
        assert_eq!(ranks.map(|rank| rank.1), [3, 3, 1]);
        let failing = share_out(&mut ranks, &mut items, |rank, _| if rank.0 == 1 { Err(Error::Interrupted) } else { Ok(()) });
        assert!(matches!(failing, Err(Error::Interrupted)));
    }
}
