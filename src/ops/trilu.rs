//! Trilu.

use super::attributes::Attributes;
use super::operator::{FILL, Fact, Facts, Implementation, Operator, QuantizationRole, Refusal, Site};
use super::rearrange::{operator, row_major_shape};
use super::{NodeForm, Parsed};

/// The upper or lower triangle of each matrix in the last two dimensions, zeros elsewhere; input 1 is how far right of the main
/// diagonal it ends.
#[derive(Clone, Copy, Debug)]
pub struct Trilu {
    pub upper: bool,
}

impl Trilu {
    /// # Errors
    /// If an attribute is wrong or unknown.
    pub fn parse(form: NodeForm) -> Result<Parsed, Refusal> {
        let mut attributes = form.attributes;
        let upper = attributes.take_int("upper", 1)? != 0;
        attributes.finish()?;
        Ok(Parsed::plain(Trilu { upper }))
    }
}

operator!(
    Trilu,
    Float,
    |s| Attributes::default().int("upper", i64::from(s.upper)),
    |s, inputs| {
        let x = inputs.required(0)?;
        if x.rank() < 2 {
            Err(format!("an input of rank {} has no matrices", x.rank()))
        } else {
            Ok(vec![Fact::new(x.data_type, x.shape.clone())])
        }
    },
    |s, site| {
        let shape = row_major_shape(site, 0)?;
        let shift = site.get(1).map(|_| site.integers(1)).transpose()?.and_then(|shift| shift.first().copied()).unwrap_or(0);
        let [.., rows, columns] = shape[..] else { return Err("it has no matrices".to_string()) };
        let kept = |at: usize| {
            let right = (at % columns) as i64 - (at / columns % rows) as i64;
            if s.upper { right >= shift } else { right <= shift }
        };
        let len = shape.iter().product::<usize>();
        let map = (0..len).map(|at| if kept(at) { at as u32 } else { FILL }).collect();
        Ok(Implementation::Move { maps: vec![map], fill: 0.0 })
    }
);
