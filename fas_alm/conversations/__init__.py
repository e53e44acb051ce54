"""Conversations about emotion, made from corpora or read from JSONL."""

from fas_alm.conversations.build import build_conversations as build_conversations
from fas_alm.conversations.conversation import Conversation as Conversation
from fas_alm.conversations.jsonl import read_conversations as read_conversations
from fas_alm.conversations.jsonl import write_conversations as write_conversations
from fas_alm.conversations.questions import TASKS as TASKS
from fas_alm.conversations.questions import Question as Question
