//! Which value becomes which integer.

pub mod costs;
mod cut;
mod exclusion;
mod islands;
mod objective;
mod params;
mod plan;
pub mod rounding;
pub mod scheme;
pub mod squant;
pub mod target;
pub mod targets;
mod widths;

pub use islands::islands;
pub use objective::{Objective, faster_in_float, movable_nodes};
pub use params::QuantParams;
pub use plan::{ActivationPoint, Group, KernelForecast, QuantPlan, WeightPoint, clip_bounds, plan, plan_around};
pub use target::{Format, PerChannel, Placement, Target};
pub use widths::{Width, Widths, set_widths};
