//! Which value becomes which integer.

mod params;
mod plan;
pub mod rounding;
pub mod scheme;
pub mod target;
pub mod targets;
mod widths;

pub use params::QuantParams;
pub use plan::{ActivationPoint, Group, KernelForecast, QuantPlan, WeightPoint, plan, plan_around};
pub use target::{Placement, Target};
pub use widths::{Width, Widths, set_widths};
