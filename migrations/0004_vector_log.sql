-- Which vectors have changed, so that an index can grow by them instead of being built anew.

-- Moves with every change of vectors alone.
alter table archive add column embedded integer not null default 1;
-- The log of a model holds every change after this revision.
alter table model add column logged_from integer not null default 0;
update model set logged_from = 1;

create table vector_log (
  revision integer primary key,   -- what `embedded` was after the change
  model_id integer not null,      -- may be gone: its vectors went, one by one, with it
  photo_id integer not null
) strict;

create trigger vector_logged after insert on vector begin
  update archive set embedded = embedded + 1;
  insert into vector_log select embedded, new.model_id, new.photo_id from archive;
end;
create trigger vector_change_logged after update on vector begin
  update archive set embedded = embedded + 1;
  insert into vector_log select embedded, new.model_id, new.photo_id from archive;
end;
create trigger vector_loss_logged after delete on vector begin
  update archive set embedded = embedded + 1;
  insert into vector_log select embedded, old.model_id, old.photo_id from archive;
end;

-- The photos that share their content with another: few, and asked for by every search.
create table twin (
  photo_id integer primary key,
  content_hash blob not null
) strict;

create index twin_content_hash on twin (content_hash);

insert into twin select id, content_hash from photo where content_hash in (
  select content_hash from photo group by content_hash having count(*) > 1
);

-- Where another has the content, one of the others is enough: if there are several, all of them
-- are twins already. (No "or ignore": an upsert that fires a trigger overrules it.)
create trigger twin_added after insert on photo
when exists (select 1 from photo where content_hash = new.content_hash and id <> new.id) begin
  insert into twin values (new.id, new.content_hash);
  insert into twin select id, content_hash from (
    select id, content_hash from photo
    where content_hash = new.content_hash and id <> new.id limit 1
  ) where id not in (select photo_id from twin where photo_id = id);
end;
create trigger twin_changed after update of content_hash on photo
when old.content_hash <> new.content_hash begin
  delete from twin where photo_id = old.id;
  delete from twin where content_hash = old.content_hash and not exists
    (select 1 from twin as other where content_hash = old.content_hash
     and other.photo_id <> twin.photo_id);
  insert into twin select new.id, new.content_hash where exists
    (select 1 from photo where content_hash = new.content_hash and id <> new.id);
  insert into twin select id, content_hash from (
    select id, content_hash from photo
    where content_hash = new.content_hash and id <> new.id limit 1
  ) where id not in (select photo_id from twin where photo_id = id);
end;
create trigger twin_dropped after delete on photo
when exists (select 1 from twin where photo_id = old.id) begin
  delete from twin where photo_id = old.id;
  delete from twin where content_hash = old.content_hash and not exists
    (select 1 from twin as other where content_hash = old.content_hash
     and other.photo_id <> twin.photo_id);
end;
