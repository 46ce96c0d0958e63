//! ONNX files in and out. Only this module knows protobuf; the rest of the crate sees a [`Graph`](crate::graph::Graph).
//!
//! [`load()`] reads a file into a [`Model`]: a graph in the form of operator sets 13 to 17 (or the file's own, where it is
//! newer), and whatever else the file says, kept for [`save()`]. Files are not trusted: sizes are checked before anything is
//! allocated, and what is malformed is refused by name.

mod attribute_proto;
mod capture;
mod external_data;
mod file_format;
mod header;
mod load;
pub mod messages;
mod model;
mod read_graph;
mod read_node;
mod save;
mod tensor_proto;
mod value_info;
mod write_graph;

#[cfg(test)]
mod samples;
#[cfg(test)]
mod tests;

pub use load::{from_bytes, load};
pub use model::{Limits, Model};
pub use save::{check_output, save, to_bytes};
