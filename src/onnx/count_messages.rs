//! How many messages a file holds, counted before any is decoded: an empty one takes two bytes in a file, hundreds in memory.

use crate::limits::{Limits, beyond};
use crate::ops::Refusal;

/// Messages whose parts are counted.
#[derive(Clone, Copy)]
enum Kind {
    Model,
    Training,
    Graph,
    Function,
    Node,
    Attribute,
    /// Counted, but not looked into.
    Leaf,
}

/// What field `tag` of a message holds, where that is counted.
fn part(kind: Kind, tag: u64) -> Option<Kind> {
    Some(match (kind, tag) {
        (Kind::Model, 7) | (Kind::Training, 1 | 2) | (Kind::Attribute, 6 | 11) => Kind::Graph,
        (Kind::Model, 20) => Kind::Training,
        (Kind::Model, 25) => Kind::Function,
        (Kind::Graph, 1) | (Kind::Function, 7) => Kind::Node,
        (Kind::Node, 5) => Kind::Attribute,
        (Kind::Model, 8 | 14) | (Kind::Graph, 5 | 11..=16) | (Kind::Attribute, 5 | 10 | 14 | 15 | 22 | 23) => Kind::Leaf,
        (Kind::Node, 9 | 10) | (Kind::Function, 11..=14) => Kind::Leaf,
        _ => return None,
    })
}

/// Refuses a file of more messages than `limits` has. What is malformed is left to the decoder.
///
/// # Errors
/// Names the limit.
pub fn check_messages(bytes: &[u8], limits: &Limits) -> Result<(), Refusal> {
    let mut waiting = vec![(Kind::Model, Fields(bytes))];
    let mut count = 0;
    while let Some((kind, fields)) = waiting.pop() {
        for (tag, payload) in fields {
            let Some(found) = part(kind, tag) else { continue };
            count += 1;
            if count > limits.messages {
                return Err(format!("it has {} nodes, tensors, values and attributes", beyond("messages", limits.messages)));
            }
            if !matches!(found, Kind::Leaf) {
                waiting.push((found, Fields(payload)));
            }
        }
    }
    Ok(())
}

/// The fields of a message that hold bytes, with their tags. Ends where the message is malformed.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let key = self.varint()?;
            match key & 7 {
                0 => drop(self.varint()?),
                1 => drop(self.take(8)?),
                2 => {
                    let length = usize::try_from(self.varint()?).ok()?;
                    return Some((key >> 3, self.take(length)?));
                }
                5 => drop(self.take(4)?),
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::samples::{convolution, encoded};

    #[test]
    fn counts_what_a_model_holds() {
        let bytes = encoded(&convolution());
        // One graph, operator set, metadata entry, initializer, input, output, described value; two nodes, one attribute.
        for (messages, fits) in [(9, false), (10, true)] {
            assert_eq!(check_messages(&bytes, &Limits { messages, ..Limits::default() }).is_ok(), fits, "{messages}");
        }
    }
}
