import { suite } from './webservers_suite.mjs';

suite('nginx');
