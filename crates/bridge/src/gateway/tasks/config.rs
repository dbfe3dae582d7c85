//! `[tasks.NAME]` of `gateway.toml`.
//!
//! ```toml
//! [tasks.ask]                      # /v1/a2a/ask: A2A 1.0, for a person's own client
//! scope = "chat.complete"          # the scope that a person needs
//! model = "small"                  # of [chat]: texts become completions
//! description = "answers"          # what its card says to everybody; need not be said
//! timeout_s = 120                  # a task that takes longer has failed
//!
//! [tasks.look]
//! scope = "tools.read"
//! service = "planner/files"        # a service of a peer of this agent
//! tool = "look"                    # data becomes its arguments
//! argument = "query"               # the argument that a text becomes; without it texts are not taken
//! ```

use std::time::Duration;

use nuncio_proto::call::ServiceName;
use nuncio_proto::token::Scope;
use serde::Deserialize;

use super::super::chat::ChatRoute;
use super::super::config::{patience, scope};

/// Longest description.
const DESCRIPTION_MAX: usize = 1_024;

/// The table as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TaskTable {
    scope: String,
    model: Option<String>,
    service: Option<String>,
    tool: Option<String>,
    argument: Option<String>,
    description: Option<String>,
    timeout_s: Option<u64>,
}

/// The table as it is meant.
#[derive(Clone, Debug)]
pub(crate) struct TaskRoute {
    pub(crate) scope: Scope,
    pub(crate) does: Does,
    pub(crate) description: String,
    pub(crate) patience: Duration,
}

/// What a task of a route is.
#[derive(Clone, Debug)]
pub(crate) enum Does {
    /// A completion by this model.
    Complete(String),
    /// A call of a tool.
    Call(Tool),
}

/// A tool of a service of another agent.
#[derive(Clone, Debug)]
pub(crate) struct Tool {
    /// A peer's name or DID.
    pub(crate) peer: String,
    pub(crate) service: ServiceName,
    pub(crate) name: String,
    /// What a text is to it.
    pub(crate) argument: Option<String>,
}

impl TaskRoute {
    /// Whose tool is called, by name or DID.
    pub(crate) fn peer(&self) -> Option<&str> {
        match &self.does {
            Does::Call(tool) => Some(&tool.peer),
            Does::Complete(_) => None,
        }
    }
}

impl TaskTable {
    /// `chat` is what the same file says of the provider.
    pub(crate) fn check(self, name: &str, chat: Option<&ChatRoute>) -> Result<TaskRoute, String> {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if name.is_empty() || !name.bytes().all(is_name) {
            return Err("a name in a path is of letters, digits, '-', '_' and '.'".to_owned());
        }
        let description = self.description.unwrap_or_else(|| format!("tasks of {name}"));
        if description.is_empty() || description.len() > DESCRIPTION_MAX {
            return Err(format!("`description` has 1 to {DESCRIPTION_MAX} bytes"));
        }
        let does = match (self.model, self.service, self.tool) {
            (Some(model), None, None) if self.argument.is_none() => match chat {
                Some(chat) if !chat.models.contains(&model) => {
                    return Err(format!("`model`: {model} is none of those of [chat]"));
                }
                _ => Does::Complete(model),
            },
            (None, Some(service), Some(tool)) => Does::Call(Tool::read(&service, tool, self.argument)?),
            _ => return Err("either `model`, or `service` and `tool`, say what a task is".to_owned()),
        };
        Ok(TaskRoute { scope: scope("scope", &self.scope)?, does, description, patience: patience(self.timeout_s)? })
    }
}

impl Tool {
    fn read(service: &str, name: String, argument: Option<String>) -> Result<Self, String> {
        let bad = || format!("`service`: {service:?} is not PEER/SERVICE");
        let (peer, service) = service.rsplit_once('/').filter(|(peer, _)| !peer.is_empty()).ok_or_else(bad)?;
        if name.is_empty() || argument.as_ref().is_some_and(String::is_empty) {
            return Err("`tool` and `argument` are names".to_owned());
        }
        Ok(Self { peer: peer.to_owned(), service: service.parse().map_err(|_| bad())?, name, argument })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<TaskRoute, String> {
        toml::from_str::<TaskTable>(text).map_err(|error| error.to_string())?.check("ask", None)
    }

    #[test]
    fn a_task_is_a_completion_or_a_call_and_nothing_else() {
        assert!(matches!(read("scope = \"a\"\nmodel = \"m\"").unwrap().does, Does::Complete(_)));
        let call = read("scope = \"a\"\nservice = \"planner/files\"\ntool = \"look\"").unwrap();
        assert!(matches!(call.does, Does::Call(Tool { argument: None, .. })));
        for bad in [
            "model = \"m\"",
            "scope = \"\"\nmodel = \"m\"",
            "scope = \"a\"",
            "scope = \"a\"\nmodel = \"m\"\ntool = \"t\"",
            "scope = \"a\"\nmodel = \"m\"\nargument = \"t\"",
            "scope = \"a\"\nservice = \"planner/files\"",
            "scope = \"a\"\nservice = \"files\"\ntool = \"t\"",
            "scope = \"a\"\nservice = \"/files\"\ntool = \"t\"",
            "scope = \"a\"\nservice = \"planner/a b\"\ntool = \"t\"",
            "scope = \"a\"\nservice = \"planner/files\"\ntool = \"\"",
            "scope = \"a\"\nmodel = \"m\"\ntimeout_s = 601",
            "scope = \"a\"\nmodel = \"m\"\ndescription = \"\"",
            "scope = \"a\"\nmodel = \"m\"\nkey = \"k\"",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let table: TaskTable = toml::from_str("scope = \"a\"\nmodel = \"m\"").unwrap();
        assert!(table.check("a/b", None).is_err());
    }
}
