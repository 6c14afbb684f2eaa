//! The connection to the daemon and what is looked up through it.

use std::time::Duration;

use backstep_bus::names::transaction_of_path;
use backstep_bus::{CallError, ManagerProxy, RecordProxy, TransactionProxy};
use backstep_core::{ErrorCode, Failure, TransactionId};
use zbus::{Connection, OwnedObjectPath, connection};

use crate::args::Global;
use crate::error::ClientError;

/// A connection to a bus. The daemon is started by the bus when it is first called.
#[derive(Debug)]
pub(crate) struct Session {
    global: Global,
    /// How long the daemon may be away while a transaction is followed.
    pub(crate) patience: Duration,
    pub(crate) connection: Connection,
    pub(crate) manager: ManagerProxy<'static>,
}

impl Session {
    /// Connects to the bus that was asked for: `system`, `session` or an address.
    pub(crate) async fn connect(global: &Global) -> Result<Self, ClientError> {
        let builder = match global.bus.as_str() {
            "system" => connection::Builder::system(),
            "session" => connection::Builder::session(),
            address => connection::Builder::address(address),
        };
        let connection = builder.build().await.map_err(CallError::Away)?;
        let manager = ManagerProxy::without_cache(&connection).await?;
        Ok(Self { global: global.clone(), patience: Duration::from_secs(global.patience), connection, manager })
    }

    /// The record as a whole.
    pub(crate) async fn record(&self) -> Result<RecordProxy<'static>, ClientError> {
        Ok(RecordProxy::on(&self.connection).await?)
    }

    /// Connects anew when the bus closed the connection.
    pub(crate) async fn ensure_connected(&mut self) -> Result<(), ClientError> {
        if self.connection.is_closed() {
            *self = Self::connect(&self.global.clone()).await?;
        }
        Ok(())
    }

    /// A transaction by its id or the last digits of it.
    pub(crate) async fn find(&self, id: &str) -> Result<(TransactionId, TransactionProxy<'static>), ClientError> {
        let path = self.manager.get_transaction(&id.to_ascii_lowercase()).await?;
        self.at(&path).await
    }

    /// A transaction by its object.
    pub(crate) async fn at(&self, path: &OwnedObjectPath) -> Result<(TransactionId, TransactionProxy<'static>), ClientError> {
        let id = transaction_of_path(path.as_str()).map_err(|e| CallError::Failure(Failure::new(ErrorCode::Internal, e.to_string())))?;
        Ok((id, TransactionProxy::at(&self.connection, path).await?))
    }
}
