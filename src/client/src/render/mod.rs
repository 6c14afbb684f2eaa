//! What people and programs see. Every function takes facts and answers text; none of them writes.

pub(crate) mod backoff;
pub(crate) mod blame;
pub(crate) mod course;
pub(crate) mod denied;
pub(crate) mod diff;
pub(crate) mod escape;
pub(crate) mod files;
pub(crate) mod generation;
pub(crate) mod ignore;
pub(crate) mod inventory;
pub(crate) mod json;
pub(crate) mod material;
pub(crate) mod origin;
pub(crate) mod plan;
pub(crate) mod progress;
pub(crate) mod record_json;
pub(crate) mod report;
pub(crate) mod result;
pub(crate) mod risk;
pub(crate) mod show;
pub(crate) mod size;
pub(crate) mod statistics;
pub(crate) mod table;
pub(crate) mod time;
